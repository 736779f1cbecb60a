"""Fixtures that several folders of tests share; a folder's conftest.py imports those it uses."""

from pathlib import Path

import pytest

from tests.fakes.commands import Terminal, quiet_environment
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
