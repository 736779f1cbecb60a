"""The one up-to-date rule of a generated task: same inputs by digest, same outputs by content.

doit only asks whether a target exists. Here an output that was edited, emptied or deleted by hand makes its task run.
"""

import os
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any

from contrast_tasks.tasks.checker import content_digest, signature_of

_POSITIONAL = Parameter.POSITIONAL_OR_KEYWORD


class Fresh:
    """An `uptodate` item; doit calls it with the task and what was recorded for it.

    digest: gives the hex digest over everything the task reads, asked when doit looks at the task, so after the tasks
        it depends on. What was true before the action is what gets recorded.
    outputs: the files the task writes, relative to the project.
    settles: the task completes its own inputs, as the one that makes a key when there is none; what is true after the
        action is recorded.
    """

    # doit inspects the signature of every item of every task; found here it costs nothing.
    __signature__ = Signature([Parameter("task", _POSITIONAL), Parameter("values", _POSITIONAL)])

    def __init__(
        self, digest: Callable[[], str], outputs: Sequence[str], *, settles: bool = False
    ) -> None:
        self._digest = digest
        self._settles = settles
        self._outputs = tuple(outputs)
        self._inputs = ""

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Return whether the task has nothing to do; values: what was recorded when it last succeeded."""
        self._inputs = self._digest()
        task.value_savers.append(self._record)
        recorded = values.get("outputs")
        if (
            values.get("inputs") != self._inputs
            or not isinstance(recorded, dict)
            or len(recorded) != len(self._outputs)
        ):
            return False
        for path in self._outputs:  # noqa: SIM110  # a generator costs more than what it asks
            if not _is_intact(path, recorded.get(path)):
                return False
        return True

    def has_new_inputs(self, values: dict[str, Any]) -> bool:
        """Return whether the inputs differ from the recorded ones; nothing is said about the outputs."""
        return values.get("inputs") != self._digest()

    def _record(self) -> dict[str, Any]:
        outputs = {
            path: [*signature_of(os.stat(path)), content_digest(path)]  # noqa: PTH116
            for path in self._outputs
        }
        inputs = self._digest() if self._settles else self._inputs
        return {"inputs": inputs, "outputs": outputs}


def _is_intact(path: str, recorded: Any) -> bool:
    if recorded is None:
        return False
    try:
        status = os.stat(path)  # noqa: PTH116  # a thousand times per run
    except OSError:
        return False
    size, modified_ns, changed_ns, inode, digest = recorded
    if (size, modified_ns, changed_ns, inode) == signature_of(status):
        return True
    return bool(size == status.st_size and content_digest(path) == digest)
