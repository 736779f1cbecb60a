"""The arrows between packages are the ones written down in pyproject.toml."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


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


def test_the_lock_pins_every_package_with_hashes() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()

    names = [line for line in lines if line and not line.startswith((" ", "#"))]
    unpinned = [line for line in names if "==" not in line or not line.endswith("\\")]

    assert names
    assert unpinned == []


def _names(requirements: list[str]) -> set[str]:
    return {
        re.split(r"[^a-z0-9-]", line.lower())[0]
        for line in requirements
        if line and not line.startswith((" ", "#", "contrast-tasks["))
    }


def test_the_environment_has_all_that_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"].values()
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted = _names([*declared, *(line for extra in extras for line in extra)])
    asked = _names((ROOT / "requirements.in").read_text().splitlines())

    assert wanted <= asked
    assert asked <= _names((ROOT / "requirements.lock").read_text().splitlines())


def test_no_generated_artefact_is_tracked_by_git() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "manifest.json", "contrast.lock", "build", ".contrast", "*.pem"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert [name for name in tracked if not name.startswith(("tests/", "contrast_tasks/"))] == []
