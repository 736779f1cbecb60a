"""Recorded requests that a policy denies on purpose."""

import json
from typing import NamedTuple

from contrast_tasks.agent_messages import Request


class Expected(NamedTuple):
    """A denial; case: pattern of the case's name. code: of the check that fails. text: what is in such a request."""

    case: str
    kind: str
    code: str
    why: str
    text: str = ""

    def asks(self, request: Request) -> bool:
        """Return whether the text is in the request."""
        return self.text in json.dumps(request.input)


EXPECTED = (
    Expected(
        "tty-exec", "ExecProcessRequest", "E_ARGS", "a shell is neither probe nor hook", '"/bin/sh"'
    ),
    Expected("*", "WriteStreamRequest", "E_REFUSED", "the host may not write to a container"),
    Expected("*", "CloseStdinRequest", "E_REFUSED", "the host may not write to a container"),
)
