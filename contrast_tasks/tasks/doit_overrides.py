"""The overridden parts of doit, each with the fault of doit that it answers.

`ContentChecker`: doit trusts modification times, and records a file that changes while its task runs as done.
`Database`: doit's sqlite3 backend asks for each task by a query of its own, and ends the run on a damaged file.
`Dependencies`: doit inspects the signature of every up-to-date rule and looks at every output once more, a tenth of a run
over a thousand tasks with nothing to do. It records what an action returned twice, which a no-op reads a fifth longer.
`ParallelRunner`: doit waits for ever for a worker that died, and its workers outlive a run that is killed.
"""

import contextlib
import json
import multiprocessing
import os
import queue
import signal
import sqlite3
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


_TABLE = "create table if not exists doit (task_id text not null primary key, task_data json)"

# Source: SQLite "Result and Error Codes"; anything else, as a locked file, is no reason to throw work away.
_DAMAGED = ("SQLITE_NOTADB", "SQLITE_CORRUPT")


def _decoded(rows: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the rows as JSON values, all read in one go; as they are if one of them is damaged."""
    with contextlib.suppress(ValueError, TypeError):
        values = json.loads(f"[{','.join([text for _, text in rows])}]")
        if len(values) == len(rows):
            return dict(zip([name for name, _ in rows], values, strict=True))
    return dict(rows)


class Database:
    """doit's record of finished tasks, in the table of its own sqlite3 backend, by the protocol of doit.dependency.

    All rows are read at once, since every task asks for its own; a file that is not a database, or holds rows nobody
    can read, is begun anew; nothing is written when nothing was recorded. Losing it costs one run over the store.
    """

    desc = "sqlite3, rebuilt when unreadable"

    def __init__(self, name: str, codec: Any = None, *, module_name: str | None = None) -> None:
        del codec, module_name  # doit's backends take them; the rows are always JSON
        self.name = name
        self.rebuilt = False
        self._dirty: set[str] = set()
        self._gone: set[str] = set()
        try:
            self._connection, self._rows = self._open()
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorname not in _DAMAGED:
                raise self._refused(error) from error
            self.rebuilt = True
            for suffix in ("", "-journal", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name + suffix)  # noqa: PTH108  # doit hands over strings
            self._connection, self._rows = self._open()

    def _refused(self, error: sqlite3.DatabaseError) -> GraphError:
        message = f"the record of finished tasks, {self.name}, cannot be used: {error}"
        hint = "is another run writing it, or may the folder not be written?"
        return GraphError(message, hint=hint)

    def _open(self) -> tuple[sqlite3.Connection, dict[str, Any]]:
        connection = sqlite3.connect(self.name)
        try:
            # Waiting for the disk takes longer than a task. What a power failure leaves is read as damaged or as older rows,
            # and a row that is newer than its files does not fit them.
            connection.execute("pragma synchronous = off")
            connection.execute(_TABLE)
            rows = _decoded(connection.execute("select task_id, task_data from doit").fetchall())
        except BaseException:
            connection.close()
            raise
        return connection, rows

    def _row(self, task_id: str) -> dict[str, Any]:
        row = self._rows.get(task_id)
        if row is None:
            return {}
        if not isinstance(row, dict):
            try:
                row = json.loads(row)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                self.rebuilt = True
                row = {}
            self._rows[task_id] = row
        return row

    def get(self, task_id: str, dependency: str) -> Any:
        """Return what was recorded under that key, or None."""
        row = self._rows.get(task_id)
        # Asked four times per task, and the rows are decoded but for a damaged file.
        return (row if type(row) is dict else self._row(task_id)).get(dependency)

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Record a JSON value; it reaches the file with `dump`."""
        row = self._row(task_id)
        row[dependency] = value
        self._rows[task_id] = row
        self._dirty.add(task_id)
        self._gone.discard(task_id)

    def in_(self, task_id: str) -> bool:
        """Return whether anything is recorded for the task."""
        return task_id in self._rows

    def remove(self, task_id: str) -> None:
        """Forget one task."""
        if self._rows.pop(task_id, None) is not None:
            self._gone.add(task_id)
        self._dirty.discard(task_id)

    def remove_all(self) -> None:
        """Forget every task."""
        self._gone.update(self._rows)
        self._rows.clear()
        self._dirty.clear()

    def close(self) -> None:
        """Close the file without writing anything."""
        self._connection.close()

    def dump(self) -> None:
        """Write what changed in one transaction and close the file."""
        try:
            if self._dirty or self._gone:
                with self._connection:
                    self._connection.executemany(
                        "delete from doit where task_id = ?", [(name,) for name in self._gone]
                    )
                    self._connection.executemany(
                        "insert or replace into doit values (?, ?)",
                        [(name, json.dumps(self._rows[name])) for name in self._dirty],
                    )
        except sqlite3.DatabaseError as error:
            raise self._refused(error) from error
        finally:
            self._connection.close()
        self._dirty.clear()
        self._gone.clear()


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
