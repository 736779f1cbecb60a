import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.cli import snapshot
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.footprint import footprint
from contrast_tasks.tasks.workspace import open_workspace
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject, deployment

WORDS = ("generate",)
LATER_NS = 10_000_000_000
ENVIRON = {"CONTRAST_PLATFORM": "local", "HOME": "/root"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with three files and a snapshot of them, and of one that is absent."""
    (tmp_path / "folder").mkdir()
    (tmp_path / ".contrast").mkdir()
    for name in ("one", "two", "folder/three"):
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    paths = ["one", "two", "folder", "folder/three", "absent"]
    assert _record(tmp_path, paths, time.time_ns() + LATER_NS)
    return tmp_path


def _record(root: Path, paths: Sequence[str], now_ns: int) -> bool:
    return snapshot.record(
        WORDS, str(root), paths, workloads=4, note="2 warnings", environ=ENVIRON, now_ns=now_ns
    )


def _holds(root: Path, *words: str, **environ: str) -> bool:
    environ = ENVIRON | environ
    return snapshot.unchanged(words or WORDS, str(root), environ=environ) is not None


def test_it_holds_while_nothing_changes(root: Path) -> None:
    line = snapshot.unchanged(WORDS, str(root), environ=ENVIRON)

    assert line == "up to date (4 workloads, 2 warnings, 0.0 s)"


def test_a_file_with_the_same_bytes_but_another_inode_ends_it(root: Path) -> None:
    (root / "replacement").write_text("one")
    (root / "replacement").rename(root / "one")

    assert not _holds(root)


def test_new_content_under_the_old_time_ends_it(root: Path) -> None:
    before = (root / "one").stat()
    (root / "one").write_text("eno")
    os.utime(root / "one", ns=(before.st_atime_ns, before.st_mtime_ns))

    assert not _holds(root)


def test_a_deleted_file_ends_it(root: Path) -> None:
    (root / "folder/three").unlink()

    assert not _holds(root)


def test_a_file_that_appears_in_a_folder_ends_it(root: Path) -> None:
    (root / "folder/four").write_text("")

    assert not _holds(root)


def test_a_file_that_was_absent_ends_it(root: Path) -> None:
    (root / "absent").write_text("")

    assert not _holds(root)


def test_a_file_beside_does_not_end_it(root: Path) -> None:
    (root / "beside").write_text("")

    assert _holds(root)


@pytest.mark.parametrize(
    "words", [("generate", "--always"), ("deploy",), ("generate", "."), ("set", "generate")]
)
def test_another_command_line_does_not_use_it(root: Path, words: tuple[str, ...]) -> None:
    assert not _holds(root, *words)


def test_no_command_line_does_not_use_it(root: Path) -> None:
    assert snapshot.unchanged((), str(root), environ=ENVIRON) is None


def test_another_setting_in_the_environment_does_not_use_it(root: Path) -> None:
    assert not _holds(root, CONTRAST_PLATFORM="metal-qemu-snp")


def test_another_variable_in_the_environment_does_not_matter(root: Path) -> None:
    assert _holds(root, HOME="/nowhere")


def test_another_folder_of_the_caller_does_not_use_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root / "folder")

    assert not _holds(root)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"circumstances": 1, "files": 2}'])
def test_a_damaged_one_does_not_count(root: Path, content: str) -> None:
    (root / snapshot.SNAPSHOT).write_text(content)

    assert not _holds(root)


def test_young_files_are_not_recorded(root: Path) -> None:
    snapshot.forget(str(root))

    assert not _record(root, ["one"], (root / "one").stat().st_ctime_ns + 1_000_000_000)
    assert not (root / snapshot.SNAPSHOT).exists()


def test_forgetting_twice_is_no_error(root: Path) -> None:
    snapshot.forget(str(root))
    snapshot.forget(str(root))

    assert not _holds(root)


def test_everything_that_decides_is_in_the_footprint(
    terminal: Terminal, project: FakeProject
) -> None:
    terminal.run("generate")

    found = footprint(open_workspace(Spec(root=str(project.root)), is_fresh=True))

    assert found >= {
        *project.outputs(),
        "deployment",
        "deployment/till",
        "deployment/shop.yml",
        "deployment/till/till.yaml",
        "contrast.toml",
        "contrast.lock",
        "dodo.py",
    }
    kinds = ("workload", "keys", "index", "check", "sources")
    folders = {kind: [path for path in found if f"/store/{kind}/" in path] for kind in kinds}
    assert {kind: len(paths) for kind, paths in folders.items()} == {
        "workload": 4,
        "keys": 1,
        "index": 1,
        "check": 1,
        "sources": 1,
    }
    assert all(Path(path).is_file() for paths in folders.values() for path in paths)
    assert any(path.endswith("contrast_tasks/kube/edits.py") for path in found)
    assert any(path.endswith("templates/policy/rules.rego") for path in found)
    assert any(path.endswith("coordinator/ca.py") for path in found)


def test_a_run_that_changes_something_forgets_it(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns
    terminal.run("generate")
    monkeypatch.setattr(time, "time_ns", lambda: now() + LATER_NS)
    terminal.run("generate")
    assert (project.root / snapshot.SNAPSHOT).exists()
    project.write("new.yml", deployment("new"))

    terminal.run("generate")

    assert not (project.root / snapshot.SNAPSHOT).exists()


@pytest.mark.parametrize("words", [("--output", "json"), ("--quiet",), ("--always",)])
def test_a_run_that_speaks_otherwise_leaves_none(
    terminal: Terminal,
    project: FakeProject,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    now = time.time_ns
    terminal.run("generate")
    monkeypatch.setattr(time, "time_ns", lambda: now() + LATER_NS)

    terminal.run("generate", *words)

    assert not (project.root / snapshot.SNAPSHOT).exists()


@pytest.mark.parametrize("words", [("generate", "status"), ("generate", "--watch")])
def test_a_line_that_asks_for_more_never_ends_with_the_snapshot(
    terminal: Terminal,
    project: FakeProject,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
) -> None:
    def end(seconds: float) -> None:
        raise KeyboardInterrupt

    now = time.time_ns
    terminal.run("generate")
    monkeypatch.setattr(time, "time_ns", lambda: now() + LATER_NS)
    monkeypatch.setattr("contrast_tasks.cli.watch._sleep", end)

    first = terminal.run(*words)
    second = terminal.run(*words)

    assert (second.code, second.out) == (first.code, first.out)
    assert second.err.splitlines()[1:] == first.err.splitlines()[1:]
    assert not (project.root / snapshot.SNAPSHOT).exists()
