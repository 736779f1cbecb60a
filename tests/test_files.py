import errno
import json
import os
import stat
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks import files
from contrast_tasks.files import (
    cache_folder,
    canonical_json,
    norm_path,
    pretty_json,
    remove_empty_parents,
    sha256_hex,
    writable_folder,
    write_atomic,
)


def test_the_hash_of_nothing_is_the_published_one() -> None:
    assert sha256_hex(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_canonical_json_has_one_form() -> None:
    assert canonical_json({"b": [1, None], "a": "é"}) == '{"a":"é","b":[1,null]}'.encode()


def test_pretty_json_keeps_the_order_and_ends_with_a_newline() -> None:
    assert pretty_json({"b": 1, "a": []}) == b'{\n  "b": 1,\n  "a": []\n}\n'


@pytest.mark.parametrize("render", [canonical_json, pretty_json])
def test_what_is_no_json_number_is_refused(render: Any) -> None:
    with pytest.raises(ValueError, match="JSON"):
        render(float("nan"))


VALUES = st.recursive(
    st.none() | st.integers() | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=("Cs",)), max_size=3), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(VALUES)
def test_canonical_json_reads_back_and_ignores_the_order_of_keys(value: Any) -> None:
    content = canonical_json(value)

    assert json.loads(content) == value
    assert canonical_json(json.loads(pretty_json(value))) == content


@given(VALUES)
def test_pretty_json_has_the_form_of_pythons_own(value: Any) -> None:
    assert pretty_json(value).decode() == json.dumps(value, indent=2, ensure_ascii=False) + "\n"


@pytest.mark.parametrize(
    ("path", "root", "wanted"),
    [
        ("a/b", ".", "a/b"),
        ("./a//b/../c", ".", "a/c"),
        ("../x", ".", "../x"),
        ("/r/a/b", "/r", "a/b"),
        ("/x", "/r", "../x"),
        (".", ".", "."),
    ],
)
def test_a_path_has_one_spelling(path: str, root: str, wanted: str) -> None:
    assert norm_path(path, root) == wanted


def test_writing_makes_parents_and_tells_that_it_wrote(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b.txt"

    assert write_atomic(target, b"x")
    assert target.read_bytes() == b"x"
    assert [entry.name for entry in target.parent.iterdir()] == ["b.txt"]


def test_equal_bytes_are_not_written_again(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"x")
    before = target.stat()

    assert not write_atomic(target, b"x")
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_other_bytes_replace_the_file_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"old")
    with target.open("rb") as reader:
        assert write_atomic(target, b"new")

        assert reader.read() == b"old"
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(tmp_path: Path, mode: int) -> None:
    old = os.umask(0o077)
    try:
        write_atomic(tmp_path / "a", b"x", mode=mode)
    finally:
        os.umask(old)

    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a"
    write_atomic(target, b"old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(files.os, "replace", fail)

    with pytest.raises(KeyboardInterrupt):
        write_atomic(target, b"new")
    assert target.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_told_with_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomic(tmp_path / "a", b"x")
    assert caught.value.filename == str(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()

    with pytest.raises(OSError, match="a"):
        write_atomic(tmp_path / "a", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


def test_empty_folders_above_a_file_are_removed_up_to_the_stop(tmp_path: Path) -> None:
    (tmp_path / "build" / "a" / "b").mkdir(parents=True)

    remove_empty_parents(tmp_path / "build" / "a" / "b" / "gone", tmp_path / "build")

    assert (tmp_path / "build").is_dir()
    assert not (tmp_path / "build" / "a").exists()


def test_a_folder_with_something_in_it_stays(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "kept").write_bytes(b"")

    remove_empty_parents(tmp_path / "a" / "b" / "gone", tmp_path)

    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["kept"]


def test_folders_outside_the_stop_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "build").mkdir()

    remove_empty_parents(tmp_path / "other" / "gone", tmp_path / "build")

    assert (tmp_path / "other").is_dir()


@pytest.mark.parametrize(
    ("places", "wanted"),
    [
        pytest.param({"usual"}, "project/usual", id="the usual one"),
        pytest.param({"temporary", "memory"}, "temporary/contrast-", id="the system's"),
        pytest.param({"memory"}, "memory/contrast-", id="a container's memory"),
    ],
)
def test_there_is_room_where_something_can_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, places: set[str], wanted: str
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    for folder in (root / "usual", tmp_path / "temporary", tmp_path / "memory"):
        if folder.name not in places:
            folder.write_bytes(b"")
        elif folder.name != "usual":
            folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(files, "_MEMORY", tmp_path / "memory")

    with writable_folder(root, "usual") as place:
        inside = (root / place.folder).resolve()
        assert inside.is_dir()
        assert str(inside).startswith(str(tmp_path / wanted))
        assert (place.refusal is None) == ("usual" in places)

    assert inside.exists() == ("usual" in places)
    assert list(tmp_path.rglob("*/.*")) == []


def test_without_any_room_the_usual_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "usual").write_bytes(b"")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "usual"))
    monkeypatch.setattr(files, "_MEMORY", tmp_path / "nothing")

    with pytest.raises(FileExistsError, match="usual"), writable_folder(tmp_path, "usual"):
        pytest.fail("there is no room")


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"CONTRAST_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/contrast-tasks"),
        ({"HOME": "/c"}, "/c/.cache/contrast-tasks"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/contrast-tasks"),
    ],
)
def test_the_cache_folder_is_where_the_environment_says(
    environ: dict[str, str], wanted: str
) -> None:
    assert str(cache_folder(environ)) == wanted
