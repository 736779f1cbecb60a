"""Runs selected tasks with doit's own control, runner and dependency manager, and returns what happened.

doit's command line is left out on purpose: it imports every plugin, swallows arguments with `=`, and folds all failures
into two exit codes. All tasks that can run do run, so that one run reports the findings of all files.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from doit.control import TaskControl
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask
from doit.loader import generate_tasks
from doit.runner import Runner
from doit.task import Stream, Task

from contrast_tasks.errors import GraphError, UsageError
from contrast_tasks.records import Record
from contrast_tasks.tasks.database import DATABASE, Database
from contrast_tasks.tasks.doit_overrides import ContentChecker, Dependencies, ParallelRunner
from contrast_tasks.tasks.reporter import Listener, Reporter


class Run(Record):
    """A finished run: the reporter's record, and whether doit's database had to be created again."""

    reporter: Reporter
    rebuilt: bool


def tasks_from(creators: Iterable[tuple[str, Any]]) -> list[Task]:
    """Return doit tasks from (name, what a task creator returned)."""
    tasks: list[Task] = []
    try:
        for name, made in creators:
            tasks.extend(generate_tasks(name, made))
    except (InvalidTask, InvalidDodoFile) as error:
        raise GraphError(str(error)) from error
    return tasks


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_tasks(
    tasks: Sequence[Task],
    selected: Sequence[str],
    *,
    listener: Listener | None = None,
    processes: Callable[[Database], int] = lambda _: 1,
    always: bool = False,
    database: str = DATABASE,
) -> Run:
    """Run `selected` and what they depend on, in the current directory.

    processes: from the record of earlier runs to the number of processes; 1 runs in this one.
    always: run also what is up to date.
    Raises UsageError for a name that is no task, GraphError for a graph doit refuses. KeyboardInterrupt passes through
    after everything finished was recorded.
    """
    Path(database).parent.mkdir(parents=True, exist_ok=True)
    reporter = Reporter(listener=listener or _Silent())
    try:
        control = TaskControl(tasks)
        control.process(list(selected))
    except InvalidCommand as error:
        raise UsageError(str(error).partition("\n")[0]) from error
    except (InvalidTask, InvalidDodoFile) as error:
        raise GraphError(str(error)) from error
    dependency = Dependencies(Database, database, checker_cls=ContentChecker)
    stream = Stream(2, force_global=True)
    count = processes(dependency.backend)
    options = {"continue_": True, "always_execute": always, "stream": stream}
    if count > 1:
        runner = ParallelRunner(dependency, reporter, num_process=count, **options)
    else:
        runner = Runner(dependency, reporter, **options)
    runner.run_all(control.task_dispatcher())
    return Run(reporter=reporter, rebuilt=dependency.backend.rebuilt)


class _Silent:
    def started(self, name: str) -> None:
        del name

    def finished(self, step: Any, values: dict[str, Any]) -> None:
        del step, values

    def skipped(self, name: str) -> None:
        del name
