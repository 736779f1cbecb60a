"""The one up-to-date rule of a generated task: same inputs by digest, same outputs by content.

doit only asks whether a target exists. Here an output that was edited, emptied or deleted by hand makes its task run.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any

from contrast_tasks.tasks.checker import content_digest, signature_of

_SHORT = 8
_FIRST, _ASKED = "it had not run before", "everything was asked to run"
_POSITIONAL = Parameter.POSITIONAL_OR_KEYWORD


class Fresh:
    """An `uptodate` item; doit calls it with the task and what was recorded for it.

    digest: gives the hex digest over everything the task reads, asked when doit looks at the task, so after the tasks
        it depends on. What was true before the action is what gets recorded.
    outputs: the files the task writes, relative to the project.
    settles: the task completes its own inputs, as the one that makes a key when there is none; what is true after the
        action is recorded.
    parts: gives what the digest is made of, name to digest, so that a run can say which part made it necessary.
    """

    # doit inspects the signature of every item of every task; found here it costs nothing.
    __signature__ = Signature([Parameter("task", _POSITIONAL), Parameter("values", _POSITIONAL)])

    def __init__(
        self,
        digest: Callable[[], str],
        outputs: Sequence[str],
        *,
        settles: bool = False,
        parts: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        self._digest = digest
        self._parts = parts
        self._reasons: list[str] = []
        self._settles = settles
        self._outputs = tuple(outputs)
        self._inputs = ""

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Return whether the task has nothing to do; values: what was recorded when it last succeeded."""
        self._inputs = self._digest()
        task.value_savers.append(self._record)
        if self._is_fresh(values):
            self._reasons = [_ASKED]
            return True
        self._reasons = self.reasons(values)
        return False

    def _is_fresh(self, values: Mapping[str, Any]) -> bool:
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

    def reasons(self, values: Mapping[str, Any]) -> list[str]:
        """Return why the task has to run, in words; an empty list if it has nothing to do."""
        if not isinstance(values.get("inputs"), str):
            return [_FIRST]
        found = []
        if values["inputs"] != self._digest():
            found = _changed(self._parts(), values.get("parts")) or ["what it is made from changed"]
        recorded = values.get("outputs")
        outputs = recorded if isinstance(recorded, dict) else {}
        for path in self._outputs:
            if not os.path.lexists(path):
                found.append(f"{path} is gone")
            elif outputs.get(path) is None:
                found.append(f"{path} was not among its outputs before")
            elif not _is_intact(path, outputs[path]):
                found.append(f"{path} was changed by somebody else")
        if not found and len(outputs) != len(self._outputs):
            found.append("it had other outputs before")
        return found

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the files the task writes."""
        return self._outputs

    def has_new_inputs(self, values: dict[str, Any]) -> bool:
        """Return whether the inputs differ from the recorded ones; nothing is said about the outputs."""
        return values.get("inputs") != self._digest()

    def _record(self) -> dict[str, Any]:
        outputs = {
            path: [*signature_of(os.stat(path)), content_digest(path)]  # noqa: PTH116
            for path in self._outputs
        }
        inputs = self._digest() if self._settles else self._inputs
        return {
            "inputs": inputs,
            "outputs": outputs,
            "parts": " ".join(digest[:_SHORT] for digest in self._parts().values()),
            "why": self._reasons,
        }


def _changed(parts: Mapping[str, str], recorded: Any) -> list[str]:
    """Return which parts differ from the recorded ones, which are known by their order only."""
    before = recorded.split(" ") if isinstance(recorded, str) else []
    if len(before) != len(parts):
        return []
    return [
        f"{name} changed"
        for (name, digest), old in zip(parts.items(), before, strict=True)
        if digest[:_SHORT] != old
    ]


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
