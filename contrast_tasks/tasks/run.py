"""Runs selected tasks with doit's own control, runner and dependency manager, and returns what happened.

doit's command line is left out on purpose: it imports every plugin, swallows arguments with `=`, and folds all failures
into two exit codes. All tasks that can run do run, so that one run reports the findings of all files.
"""

import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doit.control import TaskControl
from doit.dependency import Dependency, DependencyStatus
from doit.exceptions import InvalidCommand, InvalidDodoFile, InvalidTask
from doit.loader import generate_tasks
from doit.runner import MRunner, Runner
from doit.task import Stream, Task

from contrast_tasks.errors import GraphError, UsageError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.tasks.checker import ContentChecker
from contrast_tasks.tasks.database import Database
from contrast_tasks.tasks.freshness import Fresh
from contrast_tasks.tasks.reporter import Listener, Reporter

DATABASE = ".contrast/doit.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A finished run: the reporter's record, and whether doit's database had to be begun anew."""

    reporter: Reporter
    rebuilt: bool


_RUN, _UP_TO_DATE = DependencyStatus(get_log=False), DependencyStatus(get_log=False)
_RUN.status = "run"


class _Dependency(Dependency):  # type: ignore[misc]  # doit has no types
    """doit's dependency manager with a short way for tasks whose one rule is Fresh, and short records.

    Fresh has looked at every output, and such a task has no file_dep, so nothing is left to ask.
    """

    def save_success(self, task: Any, result_hash: str | None = None) -> None:
        # What a task returned is among its values already; a digest of it tells as well whether it changed.
        if result_hash is None and isinstance(task.result, dict):
            result_hash = sha256_hex(canonical_json(task.result))
        super().save_success(task, result_hash)

    def get_status(self, task: Any, tasks_dict: Any, get_log: bool = False) -> Any:  # noqa: FBT002  # doit's
        if len(task.uptodate) == 1 and not task.file_dep:
            rule = task.uptodate[0][0]
            if isinstance(rule, Fresh) and not get_log:
                task.dep_changed = []
                return _UP_TO_DATE if rule(task, self.get_values(task.name)) else _RUN
        return super().get_status(task, tasks_dict, get_log)


class _WatchedQueue:
    """The queue of results, which notices that a worker died instead of waiting for ever."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.workers: list[Any] = []

    def get(self) -> Any:
        while True:
            try:
                return self._inner.get(timeout=1.0)
            except queue.Empty:
                for worker in self.workers:
                    if worker.exitcode not in (None, 0):
                        raise GraphError(
                            f"a worker process ended with status {worker.exitcode}",
                            hint="run again; finished work is kept",
                        ) from None

    def put(self, item: Any) -> None:
        self._inner.put(item)

    def empty(self) -> bool:
        return bool(self._inner.empty())


_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """Let the kernel end this worker when the run that started it dies, even by SIGKILL; Linux only."""
    if sys.platform != "linux":
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        # It died before it was watched.
        os._exit(1)


def _end_at_once() -> None:
    """Leave Ctrl-C to the run that started this worker, which ends it by SIGTERM; no exception is raised on the way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _ParallelRunner(MRunner):  # type: ignore[misc]  # doit has no types
    """doit's process runner with a watched result queue, and workers that do not outlive it."""

    def _run_start_processes(self, job_q: Any, result_q: Any) -> list[Any]:
        workers: list[Any] = super()._run_start_processes(job_q, result_q)
        result_q.workers.extend(workers)
        return workers

    def execute_task_subprocess(self, job_q: Any, result_q: Any, reporter_class: Any) -> None:
        _end_with_parent()
        _end_at_once()
        super().execute_task_subprocess(job_q, result_q, reporter_class)

    @staticmethod
    def Queue() -> Any:  # noqa: N802  # doit's name
        return _WatchedQueue(MRunner.Queue())


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
    dependency = _Dependency(Database, database, checker_cls=ContentChecker)
    stream = Stream(2, force_global=True)
    count = processes(dependency.backend)
    options = {"continue_": True, "always_execute": always, "stream": stream}
    if count > 1:
        runner = _ParallelRunner(dependency, reporter, num_process=count, **options)
    else:
        runner = Runner(dependency, reporter, **options)
    runner.run_all(control.task_dispatcher())
    return Run(reporter=reporter, rebuilt=dependency.backend.rebuilt)


class _Silent:
    def started(self, name: str) -> None:
        del name

    def finished(self, step: Any, values: dict[str, Any]) -> None:
        del step, values
