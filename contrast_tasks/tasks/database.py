"""doit's record of finished tasks, `.contrast/doit.db`.

doit's own sqlite3 backend asks for each task by a query of its own, and ends the run on a damaged file.
"""

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from typing import Any

from contrast_tasks.errors import GraphError

DATABASE = ".contrast/doit.db"

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


def recorded_outputs(place: Path, group: str) -> list[dict[str, str]]:
    """Return the SHA-256 hex of every output of each finished task of a group, by path and in order, as `Fresh` recorded them.

    Nothing is written; of a record that cannot be read nothing is known.
    """
    found: list[dict[str, str]] = []
    # Whoever writes it now is not waited for.
    with contextlib.suppress(sqlite3.Error, ValueError, TypeError, AttributeError, LookupError):
        address = f"{place.absolute().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
            wanted = "select task_data from doit where task_id like ?"
            rows = connection.execute(wanted, (f"{group}:%",)).fetchall()
        for (row,) in rows:
            outputs = json.loads(row)["_values_:"]["outputs"]
            found.append({path: str(state[-1]) for path, state in outputs.items()})
    return found


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
