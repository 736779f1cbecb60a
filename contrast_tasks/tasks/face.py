"""The pipeline for a dodo.py, and the graph that our own command line runs.

A project's dodo.py needs two lines, and may add tasks of its own beside them:

    from contrast_tasks.tasks.face import DOIT_CONFIG, task_contrast
    __all__ = ["DOIT_CONFIG", "task_contrast"]
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from doit.exceptions import InvalidDodoFile
from doit.task import Task

from contrast_tasks.errors import ContrastError, GraphError
from contrast_tasks.settings.model import FILE_NAME
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.database import DATABASE
from contrast_tasks.tasks.doit_overrides import ContentChecker
from contrast_tasks.tasks.graph import TaskDict, generate_tasks
from contrast_tasks.tasks.reporter import Reporter
from contrast_tasks.tasks.run import tasks_from
from contrast_tasks.tasks.workspace import Workspace, open_workspace

DODO = "dodo.py"


def _database() -> str:
    # doit opens its database before it asks for tasks, and does not make the folder.
    if Path(FILE_NAME).is_file():
        with contextlib.suppress(OSError):  # `lint` needs no folder that can be written
            Path(DATABASE).parent.mkdir(parents=True, exist_ok=True)
    return DATABASE


DOIT_CONFIG: dict[str, Any] = {
    "backend": "sqlite3",
    "dep_file": _database(),
    "check_file_uptodate": ContentChecker,
    "reporter": Reporter,
    "default_tasks": ["generate"],
    "continue": True,
    "verbosity": 2,
    "minversion": "0.37.0",
}

_current: list[Spec] = []


def current_spec() -> Spec:
    """Return the project of the running command; for plain doit the one in the current directory."""
    return _current[-1] if _current else Spec(root=str(Path.cwd()))


def pipeline(*, before_lock: Sequence[str] = ()) -> Iterator[TaskDict | Task]:
    """Yield the pipeline's tasks; before_lock: names of tasks that make images of the lock file."""
    try:
        workspace = open_workspace(current_spec())
        yield from generate_tasks(workspace, before_lock=before_lock)
    except ContrastError as error:
        if _current:
            raise
        place = f"{error.where}: " if error.where else ""
        raise InvalidDodoFile(f"{place}{error}") from error


def task_contrast() -> Iterator[TaskDict | Task]:
    """Yield the whole pipeline."""
    yield from pipeline()


def load_tasks(workspace: Workspace) -> list[Task]:
    """Return the tasks of a project: those of its dodo.py, or the pipeline if it has none.

    Raises GraphError if the dodo.py cannot be loaded or names a task twice.
    """
    project = workspace.project
    _current.append(project.spec)
    try:
        return tasks_from(_creators(project.root / DODO))
    finally:
        _current.pop()


def _creators(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.is_file():
        yield "contrast", task_contrast()
        return
    for name, creator in vars(_module(path)).items():
        if name.startswith("task_") and callable(creator):
            yield name.removeprefix("task_"), creator()


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location("dodo", path)
    if spec is None or spec.loader is None:
        raise GraphError(f"{path.name} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ContrastError:
        raise
    except Exception as error:
        message = f"{os.fspath(path.name)} cannot be loaded: {type(error).__name__}: {error}"
        raise GraphError(message, hint=f"run 'python {path.name}' to see where") from error
    return module
