"""The arrows between packages are the ones written down in pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_imports_follow_the_contracts() -> None:
    code = "import sys; from importlinter.cli import lint_imports_command; lint_imports_command()"

    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_the_lock_pins_every_package_with_hashes(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()

    names = [line for line in lines if line and not line.startswith((" ", "#"))]
    unpinned = [line for line in names if "==" not in line or not line.endswith("\\")]

    assert names
    assert unpinned == []


def _names(requirements: list[str]) -> set[str]:
    return {
        re.split(r"[^a-z0-9-]", line.lower())[0]
        for line in requirements
        if line and not line.startswith((" ", "#", "-r ", "contrast-tasks["))
    }


def test_the_environment_has_all_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted = _names([*declared, *(line for extra in extras for line in extra)])
    product, tools = _names_in("requirements.in"), _names_in("requirements-dev.in")

    assert _names(project["project"]["dependencies"]) <= product
    assert wanted <= product | tools
    assert product <= _names_in("requirements.lock")
    assert tools <= _names_in("requirements-dev.lock")


def test_both_locks_have_the_same_versions() -> None:
    product, tools = (
        {line for line in (ROOT / lock).read_text().splitlines() if "==" in line}
        for lock in ("requirements.lock", "requirements-dev.lock")
    )

    assert product <= tools


def _names_in(file: str) -> set[str]:
    return _names((ROOT / file).read_text().splitlines())


def test_no_generated_artefact_is_tracked_by_git() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "manifest.json", "contrast.lock", "build", ".contrast", "*.pem"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert [name for name in tracked if not name.startswith(("tests/", "contrast_tasks/"))] == []
