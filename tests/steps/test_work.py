from pathlib import Path

import pytest

from contrast_tasks.errors import GraphError
from contrast_tasks.steps.work import (
    Head,
    Work,
    cache_directory,
    load_cached,
    parse_work,
    read_head,
    read_work,
    render_work,
    save_cached,
    write_plain,
)

WORK = Work(
    head=Head(
        policy_sha256="ab" * 32,
        sans=("web", "*"),
        workload_secret_id="apps/v1/Deployment/default/web",
        role="",
        findings=({"code": "G031", "where": {"file": "", "line": 3}},),
    ),
    obj={"kind": "Deployment", "metadata": {"name": "wéb", "z": 1, "a": 2}},
    policy=b"package agent_policy\n\nline\n",
)
INPUTS = "cd" * 32


def test_what_is_written_is_read_back() -> None:
    assert parse_work(render_work(WORK, INPUTS), INPUTS) == WORK


def test_the_order_of_the_objects_keys_is_kept() -> None:
    work = parse_work(render_work(WORK, INPUTS), INPUTS)

    assert work is not None
    assert list(work.obj["metadata"]) == ["name", "z", "a"]


@pytest.mark.parametrize("place", [0, 20, 90, 150, 300, -1])
def test_any_changed_byte_is_noticed(place: int) -> None:
    content = bytearray(render_work(WORK, INPUTS))
    content[place] ^= 1

    assert parse_work(bytes(content), INPUTS) is None


def test_the_result_for_other_inputs_is_not_taken() -> None:
    assert parse_work(render_work(WORK, INPUTS), "00" * 32) is None


def test_a_truncated_file_is_not_taken() -> None:
    content = render_work(WORK, INPUTS)

    assert [parse_work(content[:size], INPUTS) for size in range(0, len(content), 17)] == [
        None
    ] * len(range(0, len(content), 17))


def test_the_head_is_read_without_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_bytes(render_work(WORK, INPUTS))

    assert read_head(path, INPUTS) == WORK.head
    assert read_work(path, INPUTS) == WORK


@pytest.mark.parametrize("content", [None, b"", b"contrast-work/1\n", b"contrast-work/1 x y\n{}\n"])
def test_a_file_that_is_not_the_result_is_a_graph_error(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "results/Deployment.web"
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(GraphError, match="not the result of the current sources"):
        read_head(path, INPUTS)
    with pytest.raises(GraphError):
        read_work(path, INPUTS)


def test_the_cache_gives_back_what_was_kept(tmp_path: Path) -> None:
    content = render_work(WORK, INPUTS)
    save_cached(tmp_path, INPUTS, content)

    assert load_cached(tmp_path, INPUTS) == content
    assert load_cached(tmp_path, "00" * 32) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    save_cached(tmp_path / "file", INPUTS, render_work(WORK, INPUTS))

    assert load_cached(tmp_path / "file", INPUTS) is None


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"CONTRAST_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/contrast-tasks"),
        ({"HOME": "/c"}, "/c/.cache/contrast-tasks"),
        ({"XDG_CACHE_HOME": "", "HOME": "/c"}, "/c/.cache/contrast-tasks"),
    ],
)
def test_the_cache_lies_where_the_environment_says(environ: dict[str, str], wanted: str) -> None:
    assert cache_directory(environ) == Path(wanted)


def test_an_interrupted_write_leaves_the_old_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_plain(path, b"old")
    monkeypatch.setattr("os.replace", _interrupt)

    with pytest.raises(KeyboardInterrupt):
        write_plain(path, b"new")

    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("file", b"old")]


def _interrupt(*arguments: object) -> None:
    raise KeyboardInterrupt
