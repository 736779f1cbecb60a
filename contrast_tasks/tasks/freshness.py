"""The one up-to-date rule of a generated task: same inputs by digest, same outputs by content.

doit only asks whether a target exists. Here an output that was edited, emptied or deleted by hand makes its task run.
"""

import hashlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contrast_tasks.signatures import signature_of
from contrast_tasks.tasks.inputs import Inputs
from contrast_tasks.tasks.store import Store

_FIRST, _ASKED = "it had not run before", "everything was asked to run"
_TAKES = [
    inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("task", "values")
]


def content_digest(path: str) -> str:
    """Return the SHA-256 of the file's content as 64 hex digits."""
    with open(path, "rb") as stream:  # noqa: PTH123  # a thousand times per run
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Fresh:
    """An `uptodate` item; doit calls it with the task and what was recorded for it.

    inputs: gives what the task is made of, asked when doit looks at the task, so after the tasks it depends on. What was
        true before the action is what gets recorded.
    outputs: the files the task writes, relative to the project.
    results: where the task's result is kept with what it was made from; kind: of that result, "" if there is none.
    settles: the task completes its own inputs, as the one that makes a key when there is none; what is true after the
        action is recorded.
    """

    # doit inspects the signature of every item of every task; found here it costs nothing.
    __signature__ = inspect.Signature(_TAKES)

    def __init__(
        self,
        inputs: Callable[[], Inputs],
        outputs: Sequence[str],
        *,
        results: Store,
        kind: str = "",
        settles: bool = False,
    ) -> None:
        self._now = inputs
        self._results = results
        self._kind = kind
        self._result = results.path(kind, "") if kind else ""
        self._reasons: list[str] = []
        self._settles = settles
        self._outputs = tuple(outputs)
        self._inputs: Inputs | None = None

    def __call__(self, task: Any, values: dict[str, Any]) -> bool:
        """Return whether the task has nothing to do; values: what was recorded when it last succeeded."""
        self._inputs = self._now()
        task.value_savers.append(self._record)
        if self._is_fresh(values, self._inputs.digest):
            self._reasons = [_ASKED]
            return True
        self._reasons = self.reasons(values)
        return False

    def _is_fresh(self, values: Mapping[str, Any], digest: str) -> bool:
        if values.get("inputs") != digest:
            return False
        if self._result and not _is_intact(f"{self._result}{digest}", values.get("kept")):
            return False
        recorded = values.get("outputs")
        if not isinstance(recorded, dict) or len(recorded) != len(self._outputs):
            return False
        for path in self._outputs:  # noqa: SIM110  # a generator costs more than what it asks
            if not _is_intact(path, recorded.get(path)):
                return False
        return True

    def reasons(self, values: Mapping[str, Any]) -> list[str]:
        """Return the reasons why the task has to run; an empty list if it has nothing to do."""
        before = values.get("inputs")
        if not isinstance(before, str):
            return [_FIRST]
        found = []
        now = self._now()
        if before != now.digest:
            parts = (
                self._results.made_from(self._kind, before) if self._kind else values.get("parts")
            )
            # Version 0.1.0 recorded them as a text.
            found = _differences(parts, now.named) if isinstance(parts, dict) else []
            found = found or ["what it is made from changed"]
        elif self._result and not _is_intact(f"{self._result}{before}", values.get("kept")):
            found.append("its result is gone or damaged")
        recorded = values.get("outputs")
        outputs = recorded if isinstance(recorded, dict) else {}
        for path in self._outputs:
            if not os.path.lexists(path):
                found.append(f"{path} is gone")
            elif outputs.get(path) is None:
                found.append(f"{path} was not among its outputs before")
            elif not _is_intact(path, outputs[path]):
                found.append(f"{path} was changed after it was written")
        if not found and len(outputs) != len(self._outputs):
            found.append("it had other outputs before")
        return found

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the files the task writes."""
        return self._outputs

    def has_new_inputs(self, values: Mapping[str, Any]) -> bool:
        """Return whether the inputs differ from the recorded ones; outputs are not looked at."""
        return values.get("inputs") != self._now().digest

    def _record(self) -> dict[str, Any]:
        inputs = self._now() if self._settles or self._inputs is None else self._inputs
        more = (
            {"kept": _state(f"{self._result}{inputs.digest}")}
            if self._kind
            else {"parts": inputs.named}
        )
        return {
            "inputs": inputs.digest,
            "outputs": {path: _state(path) for path in self._outputs},
            "why": self._reasons,
            **more,
        }


def _differences(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names whose values differ, or that only one of the mappings has."""
    return [f"{name} changed" for name in {**now, **before} if before.get(name) != now.get(name)]


def _state(path: str) -> list[Any]:
    return [*signature_of(os.stat(path)), content_digest(path)]  # noqa: PTH116  # a thousand times per run


def _is_intact(path: str, recorded: Any) -> bool:
    if recorded is None:
        return False
    try:
        status = os.stat(path)  # noqa: PTH116  # as above
    except OSError:
        return False
    size, modified_ns, changed_ns, inode, digest = recorded
    if (size, modified_ns, changed_ns, inode) == signature_of(status):
        return True
    return bool(size == status.st_size and content_digest(path) == digest)
