"""Which interpreters `./doitw pythons` takes, and that a failure is told by the version."""

import tomllib
from pathlib import Path

import pytest

from dev import pythons
from dev.checkout import ROOT


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the commands that were run; uv has no Python 3.14, and tests fail under 3.13."""
    seen: list[list[str]] = []

    def run(command: list[str], environment: dict[str, str] | None = None) -> bool:
        del environment
        seen.append(command)
        return command[-1] != "3.14" and not ("pytest" in command and "pythons/3.13/" in command[0])

    monkeypatch.setattr(pythons, "_runs", run)
    monkeypatch.setattr(pythons, "_from_debian", lambda version, _uv: Path(f"/debian/{version}"))
    return seen


def test_what_uv_has_not_is_taken_from_debian(commands: list[list[str]]) -> None:
    pythons.run_pythons(["3.12", "3.14"])

    assert [each[-1] for each in commands if "venv" in each] == ["3.12", "3.14", "/debian/3.14"]
    assert len([each for each in commands if "pytest" in each]) == 2


def test_all_versions_are_tried_and_those_that_fail_are_named(commands: list[list[str]]) -> None:
    with pytest.raises(pythons.PythonsFailed, match=r"^3\.13 failed$"):
        pythons.run_pythons()

    assert len([each for each in commands if "pytest" in each]) == len(pythons.VERSIONS)


def test_what_is_declared_is_run() -> None:
    """The oldest is that of the usual suite."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = [each for each in project["classifiers"] if " :: 3." in each]

    assert [each.rpartition(" ")[2] for each in declared] == ["3.11", *pythons.VERSIONS]
