"""The overridden parts of doit, each with the fault of doit that it answers.

`ContentChecker`: doit trusts modification times, and records a file that changes while its task runs as done.
`Dependencies`: doit inspects the signature of every up-to-date rule and looks at every output once more, a tenth of a run
over a thousand tasks with nothing to do. It records what an action returned twice, which a no-op reads a fifth longer.
`ParallelRunner`: doit waits for ever for a worker that died, and its workers outlive a run that is killed.
"""

import multiprocessing
import os
import queue
import signal
import sys
from collections.abc import Sequence
from typing import Any

from doit.dependency import Dependency, DependencyStatus, FileChangedChecker
from doit.runner import MRunner

from contrast_tasks.errors import GraphError
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.signatures import Signature, signature_of
from contrast_tasks.tasks.freshness import Fresh, content_digest

# A state that no file can have: recorded if the file changed during its task, so that the task runs again.
_NEVER = ((-1, -1, -1, -1), "")


class ContentChecker(FileChangedChecker):  # type: ignore[misc]  # doit has no types
    """Tells whether a file has changed: by its signature, and by its content if the signature differs.

    The signature holds the change time, which no ordinary program can set back, and what is recorded is the signature
    from before the action.
    """

    def __init__(self) -> None:
        self._before: dict[str, Signature] = {}

    def info(self, file_path: str) -> Signature:
        """Return the signature now, and remember the first one seen in this run."""
        now = signature_of(os.stat(file_path))  # noqa: PTH116  # a thousand times per run
        self._before.setdefault(file_path, now)
        return now

    def check_modified(self, file_path: str, file_stat: Signature, state: Sequence[Any]) -> bool:
        """Return whether the content differs from the recorded one; `state` is what get_state gave."""
        signature, digest = state
        if tuple(signature) == file_stat:
            return False
        if signature[0] != file_stat[0]:
            return True
        return bool(content_digest(file_path) != digest)

    def get_state(self, dep: str, current_state: Sequence[Any] | None) -> tuple[Any, ...] | None:
        """Return what to record for an input of a finished task; None if the record still holds."""
        now = signature_of(os.stat(dep))  # noqa: PTH116  # as above
        if self._before.get(dep, now) != now:
            return _NEVER
        if current_state is not None and tuple(current_state[0]) == now:
            return None
        return (now, content_digest(dep))


_RUN, _UP_TO_DATE = DependencyStatus(get_log=False), DependencyStatus(get_log=False)
_RUN.status = "run"


class Dependencies(Dependency):  # type: ignore[misc]  # doit has no types
    """doit's dependency manager with a short way for tasks whose one rule is `Fresh`.

    The rule has looked at every output, and there is no file_dep, so nothing is left to ask.
    """

    def save_success(self, task: Any, result_hash: str | None = None) -> None:
        """Record a task that succeeded."""
        if result_hash is None and isinstance(task.result, dict):
            result_hash = sha256_hex(canonical_json(task.result))
        super().save_success(task, result_hash)

    def get_status(self, task: Any, tasks_dict: Any, get_log: bool = False) -> Any:  # noqa: FBT002  # doit's
        """Return whether a task has to run."""
        rule = task.uptodate[0][0] if task.uptodate else None
        if type(rule) is not Fresh or get_log:
            return super().get_status(task, tasks_dict, get_log)
        task.dep_changed = []
        return _UP_TO_DATE if rule(task, self.get_values(task.name)) else _RUN


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


def _end_with_parent() -> None:
    """Let the kernel end this worker when the run that started it dies, even by SIGKILL; Linux only."""
    if sys.platform != "linux":
        return
    from contrast_tasks.linux import signal_on_parent_death

    signal_on_parent_death(signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    # A run that died before it was watched sends no signal. `is_alive` asks a pipe whose other end the workers that were
    # forked later hold too, so it may say yes for a moment longer; a forked worker knows its parent's id.
    is_forked = multiprocessing.get_start_method() == "fork"
    if os.getppid() != parent.pid if is_forked else not parent.is_alive():
        os._exit(1)


def _end_at_once() -> None:
    """Leave Ctrl-C to the run that started this worker, which ends it by SIGTERM; no exception is raised on the way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class ParallelRunner(MRunner):  # type: ignore[misc]  # doit has no types
    """doit's process runner with a watched result queue, and workers that do not outlive it."""

    def _run_start_processes(self, job_q: Any, result_q: Any) -> list[Any]:
        workers: list[Any] = super()._run_start_processes(job_q, result_q)
        result_q.workers.extend(workers)
        return workers

    def execute_task_subprocess(self, job_q: Any, result_q: Any, reporter_class: Any) -> None:
        """Carry out tasks in this worker."""
        _end_with_parent()
        _end_at_once()
        super().execute_task_subprocess(job_q, result_q, reporter_class)

    @staticmethod
    def Queue() -> Any:  # noqa: N802  # doit's name
        """Return a queue between the run and its workers."""
        made = MRunner.Queue()
        # A signal can interrupt the queue's own locking, after which an exit that flushes the queue would wait forever.
        # Workers flush theirs all the same: they forget this when they start.
        made.cancel_join_thread()
        return _WatchedQueue(made)
