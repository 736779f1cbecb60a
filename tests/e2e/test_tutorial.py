"""The tutorial, pasted into one shell on a machine without a cluster."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.local.client import NodeClient
from contrast_tasks.local.paths import local_paths

pytestmark = pytest.mark.e2e

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("contrast_tasks", "coordinator", "examples", "schemas", "templates")
FILES = ("contrast.toml", "dodo.py", "doitw", "requirements.lock")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return a folder with a clone and its environment."""
    clone, venv = tmp_path / "clone", tmp_path / "venv" / "bin"
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", "_data")
        shutil.copytree(CHECKOUT / name, clone / name, ignore=ignored)
    for name in FILES:
        shutil.copy(CHECKOUT / name, clone / name)
    venv.mkdir(parents=True)
    shutil.copy(CHECKOUT / "requirements.lock", venv.parent)
    (venv / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (venv / "python").chmod(0o755)
    yield tmp_path
    NodeClient(paths=local_paths(tmp_path / "shop")).shutdown()


def local_blocks() -> list[str]:
    text = (CHECKOUT / "docs/tutorial.md").read_text()
    return re.findall(r"<!-- local -->\n```sh\n(.*?)```", text, re.DOTALL)


def test_every_block_for_this_machine_works_as_pasted(place: Path) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("CONTRAST_")}
    environment = {
        **kept,
        "CHECKOUT": str(place / "clone"),
        "CONTRAST_VENV": str(place / "venv"),
        "NO_COLOR": "1",
    }
    script = "".join(f"echo '<{number}>'\n{block}" for number, block in enumerate(local_blocks()))

    done = subprocess.run(
        ["sh", "-eu", "-c", script],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=240,
    )

    assert done.returncode == 0, done.stdout
    assert "contrast.lock holds 6 images" in done.stdout
    assert "Verify return code: 0 (ok)" in done.stdout
    assert "no alternative certificate subject name matches" in done.stdout
    assert "changed Deployment/web (sans)" in done.stdout
    assert "4 workloads restarted, all ready" in done.stdout
    assert done.stdout.lower().count("<html") == 2
