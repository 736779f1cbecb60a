import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from doit.dependency import JSONCodec, SqliteDB

from contrast_tasks.errors import GraphError
from contrast_tasks.tasks.database import Database, recorded_outputs


def test_what_is_set_is_there_after_dump(tmp_path: Path) -> None:
    name = str(tmp_path / "doit.db")
    database = Database(name)
    database.set("a", "result:", {"x": [1]})
    database.dump()

    again = Database(name)

    assert again.get("a", "result:") == {"x": [1]}
    assert again.in_("a")
    assert not again.rebuilt
    again.dump()


def test_doits_own_backend_reads_the_same_file(tmp_path: Path) -> None:
    name = str(tmp_path / "doit.db")
    database = Database(name)
    database.set("a", "deps:", ["x"])
    database.dump()

    theirs = SqliteDB(name, JSONCodec())

    assert theirs.get("a", "deps:") == ["x"]
    theirs.dump()


def test_a_removed_task_is_gone_after_dump(tmp_path: Path) -> None:
    name = str(tmp_path / "doit.db")
    database = Database(name)
    database.set("a", "deps:", [])
    database.set("b", "deps:", [])
    database.dump()
    database = Database(name)
    database.remove("a")
    database.dump()

    again = Database(name)

    assert (again.in_("a"), again.in_("b")) == (False, True)
    again.remove_all()
    again.dump()
    with closing(Database(name)) as again:
        assert not again.in_("b")


def test_nothing_is_written_when_nothing_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "doit.db"
    database = Database(str(path))
    database.set("a", "deps:", [])
    database.dump()
    before = path.stat()
    Database(str(path)).dump()

    after = path.stat()

    assert (after.st_mtime_ns, after.st_ctime_ns) == (before.st_mtime_ns, before.st_ctime_ns)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            b"this is not a database, and it is long enough to be taken for one", id="text"
        ),
        pytest.param(b"SQLite format 3\0" + bytes(200), id="damaged-header"),
    ],
)
def test_a_file_that_is_no_database_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "doit.db"
    path.write_bytes(content)

    database = Database(str(path))

    assert database.rebuilt
    assert not database.in_("a")
    database.set("a", "deps:", [])
    database.dump()
    with closing(Database(str(path))) as again:
        assert again.in_("a")


def test_a_row_that_is_no_json_object_counts_as_absent(tmp_path: Path) -> None:
    path = tmp_path / "doit.db"
    Database(str(path)).dump()
    with sqlite3.connect(path) as connection:
        connection.execute("insert into doit values ('a', '{')")
        connection.execute("insert into doit values ('b', '[1]')")
    connection.close()

    database = Database(str(path))

    assert database.get("a", "deps:") is None
    assert database.get("b", "deps:") is None
    assert database.rebuilt
    database.dump()


def test_a_locked_file_is_kept_and_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "doit.db"
    first = Database(str(path))
    first.set("a", "deps:", [])
    first.dump()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda name: connect(name, timeout=0))
    with connect(path) as holder:
        holder.execute("begin exclusive")

        with pytest.raises(GraphError, match="cannot be used: database is locked"):
            Database(str(path))
    holder.close()

    again = Database(str(path))
    assert again.in_("a")
    again.dump()


def test_a_record_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    name = str(tmp_path / "doit.db")
    database = Database(name)
    database.set("a", "deps:", [])
    database._connection.execute("pragma query_only = 1")

    with pytest.raises(GraphError, match="cannot be used: attempt to write") as caught:
        database.dump()

    assert name in str(caught.value)


def test_outputs_of_a_group_are_known_by_their_digests(tmp_path: Path) -> None:
    path = tmp_path / "doit.db"
    database = Database(str(path))
    states = {"b.yml": [1, 2, 3, 4, "0a"], "a.json": [1, 2, 3, 5, "0b"]}
    for task in ("output:x.yml", "outputs", "check"):
        database.set(task, "_values_:", {"outputs": states})
    database.dump()

    found = recorded_outputs(path, "output")

    assert found == [{"b.yml": "0a", "a.json": "0b"}]
    assert [*found[0]] == ["b.yml", "a.json"]


@pytest.mark.parametrize(
    "content", [None, b"", b"no database at all" * 100], ids=["absent", "empty", "damaged"]
)
def test_of_a_record_that_cannot_be_read_no_outputs_are_known(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "doit.db"
    if content is not None:
        path.write_bytes(content)

    assert recorded_outputs(path, "output") == []
    assert path.exists() == (content is not None)
