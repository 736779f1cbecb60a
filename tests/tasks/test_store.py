from pathlib import Path

import pytest

from contrast_tasks.tasks.store import Rows, Store

CONTENT = b"first\nsecond \xff\n"
KEY = "cd" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "a/store"))
    store.put("workload", KEY, CONTENT)
    return store


def _file(store: Store) -> Path:
    return Path(store.path("workload", KEY))


def test_what_is_put_is_got_back(store: Store) -> None:
    assert store.get("workload", KEY) == CONTENT
    assert store.get("workload", "00" * 32) is None
    assert store.get("index", KEY) is None


@pytest.mark.parametrize("place", [0, 20, 40, 100, 150, -1])
def test_any_changed_byte_is_noticed(store: Store, place: int) -> None:
    content = bytearray(_file(store).read_bytes())
    content[place] ^= 1
    _file(store).write_bytes(content)

    assert store.get("workload", KEY) is None


def test_a_cut_entry_does_not_count(store: Store) -> None:
    content = _file(store).read_bytes()

    for size in range(len(content)):
        _file(store).write_bytes(content[:size])
        assert store.get("workload", KEY) is None


def test_an_entry_under_another_name_does_not_count(store: Store) -> None:
    _file(store).rename(store.path("workload", "ef" * 32))

    assert store.get("workload", "ef" * 32) is None


def test_only_what_is_kept_stays(store: Store) -> None:
    store.put("workload", "ef" * 32, b"")
    store.put("index", "last", b"")

    store.keep("workload", [KEY])
    store.keep("absent", [])

    assert store.get("workload", KEY) == CONTENT
    assert store.get("workload", "ef" * 32) is None
    assert store.get("index", "last") == b""


def test_a_store_that_cannot_be_written_is_no_error_where_it_only_saves_time(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text("")
    store = Store(str(tmp_path / "file"))

    store.remember("workload", KEY, CONTENT)

    assert store.get("workload", KEY) is None
    with pytest.raises(OSError, match="file"):
        store.put("workload", KEY, CONTENT)


def test_an_interrupted_write_leaves_the_old_bytes(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.replace", _interrupt)

    with pytest.raises(KeyboardInterrupt):
        store.put("workload", KEY, b"new")

    assert store.get("workload", KEY) == CONTENT
    assert list(_file(store).parent.iterdir()) == [_file(store)]


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_rows_are_what_was_written_and_lines_of_unchanged_ones_stay() -> None:
    before = Rows(Rows(None).content({"a\n": {"b": [1, "\u00e9\n"]}, "c": None, "d": 1}))
    values = before.values

    content = before.content({"c": None, "a\n": values["a\n"], "e": {}})

    assert values == {"a\n": {"b": [1, "\u00e9\n"]}, "c": None, "d": 1}
    assert Rows(content).values == {"c": None, "a\n": {"b": [1, "\u00e9\n"]}, "e": {}}
    assert [*Rows(content).values] == ["c", "a\n", "e"]
    assert content.split(b"\n")[1] == before.content(values).split(b"\n")[0]
