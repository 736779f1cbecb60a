"""The guest of one pod as its agent would be: each request is asked of the pod's policy first.

The requests are those that the model of the runtime makes, so a policy sees here what it would see on a node.
"""

import re
from collections.abc import Iterable
from typing import Final

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import ContrastError
from contrast_tasks.manifest.policy_document import parse_document
from contrast_tasks.policy.engine import Decision, PolicyEngine
from contrast_tasks.policy.simulate import NOT_ASKED, Judged

_DENIAL: Final = re.compile(r"DENY .*")


class Denied(ContrastError):
    """The pod's policy denies a request; the message is the line that the agent's log has, container: that it names."""

    def __init__(self, request: Request, line: str, container: str) -> None:
        super().__init__(f"its policy denies to {request.purpose}: {line}")
        self.line = line
        self.container = container


class Guest:
    """One guest with its policy; document: as in the annotation, b"" for a pod that is not confidential."""

    def __init__(self, document: bytes) -> None:
        self._engine = PolicyEngine(parse_document(document).policy) if document else None
        self._position = 0
        self.hidden: set[str] = set()

    def ask(self, requests: Iterable[Request]) -> None:
        """Ask for requests in order; raises Denied for the first that is denied.

        Output that nobody may read is no denial; `hidden` then has the container's name in the policy.
        """
        if self._engine is None:
            return
        for request in requests:
            self._position += 1
            if request.kind in NOT_ASKED:
                continue
            decision = self._engine.ask(request.kind, request.input)
            judged = Judged(self._position, request, decision)
            if judged.verdict == "hidden":
                self.hidden.add(decision.container)
            elif judged.verdict == "denied":
                raise Denied(request, denial_line(request, decision), decision.container)


def denial_line(request: Request, decision: Decision) -> str:
    """Return the line that a policy prints for a denial; a policy need not print one."""
    for text in decision.prints:
        found = _DENIAL.search(text)
        if found:
            return found[0]
    return f"DENY {request.kind} without a line of the policy"
