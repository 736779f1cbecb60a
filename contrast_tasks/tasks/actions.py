"""How a task names what it does: by path, imported when the task runs.

A no-op therefore never imports what the stages need, and a task can be sent to another process.
"""

import importlib
from traceback import StackSummary, walk_tb
from typing import Any

from doit.exceptions import TaskFailed

from contrast_tasks.errors import ContrastError


class Failed(TaskFailed):  # type: ignore[misc]  # doit has no types
    """A task that ended with an error raised on purpose; carries the error, and the places it came through."""

    def __init__(self, error: ContrastError) -> None:
        super().__init__(str(error))
        self.error = error
        # Exceptions lose their traceback on the way from another process, and its text is rarely wanted.
        self.frames = [
            (frame.f_code.co_filename, line, frame.f_code.co_name, None)
            for frame, line in walk_tb(error.__traceback__)
        ]

    @property
    def trace(self) -> str:
        """Return the traceback as text."""
        lines = StackSummary.from_list(self.frames).format()
        return "".join((*lines, f"{type(self.error).__name__}: {self.error}\n"))


def perform(stage: str, **arguments: Any) -> Any:
    """Call the function named `package.module:function` and return its small JSON-able dict.

    A ContrastError and what the file system refuses come back as Failed; anything else is a bug and keeps its traceback.
    """
    module, _, function = stage.partition(":")
    try:
        return getattr(importlib.import_module(module), function)(**arguments)
    except ContrastError as error:
        return Failed(error)
    except OSError as error:
        from contrast_tasks.file_errors import file_error

        refused = file_error(error)
        if refused is None:
            raise
        return Failed(refused)


def action(stage: str, **arguments: Any) -> tuple[Any, list[Any], dict[str, Any]]:
    """Return the doit action that performs `stage` with `arguments`."""
    return (perform, [stage], arguments)
