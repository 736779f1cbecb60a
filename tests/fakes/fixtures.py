"""Fixtures that several folders of tests share; a folder's conftest.py imports those it uses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.commands import Terminal, quiet_environment
from tests.fakes.testdata import REPORTS
from tests.fakes.workloads import FakeProject, make_project


@pytest.fixture
def project(tmp_path: Path) -> FakeProject:
    return make_project(tmp_path / "project")


@pytest.fixture
def terminal(
    project: FakeProject,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Terminal:
    quiet_environment(monkeypatch, tmp_path / "cache")
    return Terminal(project.root, capsys, monkeypatch)


@pytest.fixture(scope="session")
def kept_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that keeps what `generated` makes, empty at first."""
    return tmp_path_factory.mktemp("kept") / "project"


@pytest.fixture
def generated(terminal: Terminal, kept_project: Path) -> Terminal:
    """Return a terminal in a project that was generated; the first test of a process runs the command, others get a copy."""
    if kept_project.exists():
        shutil.copytree(kept_project, terminal.root, dirs_exist_ok=True)
    else:
        assert terminal.run("generate").code == 0
        shutil.copytree(terminal.root, kept_project)
    return terminal


@pytest.fixture
def reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Terminal]:
    """Return the function that copies a case of testdata/reports and opens a terminal in it."""
    quiet_environment(monkeypatch, tmp_path / "cache")

    def opened(name: str) -> Terminal:
        root = tmp_path / name
        for file in (REPORTS / name).rglob("*"):
            if file.is_file():
                target = root / file.relative_to(REPORTS / name)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)  # the modes stay behind: the cases may be read-only
        return Terminal(root, capsys, monkeypatch)

    return opened
