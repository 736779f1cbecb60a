"""What happens to a command whose streams are closed, full, or not read: no traceback, its own exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.workloads import FakeProject

pytestmark = pytest.mark.e2e

FULL = Path("/dev/full")
LINES = [
    pytest.param(["generate", "--help"], id="help"),
    pytest.param(["config", "show"], id="data"),
    pytest.param(["generate", "--always", "--output", "events"], id="stream"),
]


def shell(project: FakeProject, tmp_path: Path, words: list[str], redirection: str) -> str:
    """Run a command line in a shell that redirects its streams; return stderr and `status <n>`."""
    line = f'"$@" {redirection}; echo "status $?" >&9'
    environment = {
        "PATH": os.environ["PATH"],
        "CONTRAST_PROJECT": str(project.root),
        "CONTRAST_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [
            "sh",
            "-c",
            f"exec 9>&1; {{ {line}; }} 2>&1",
            "-",
            sys.executable,
            "-m",
            "contrast_tasks",
            *words,
        ],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.parametrize("words", LINES)
def test_a_reader_that_left_ends_the_command_without_a_word(
    project: FakeProject, tmp_path: Path, words: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = {"PATH": os.environ["PATH"], "CONTRAST_CACHE_DIR": str(tmp_path / "cache")}

    try:
        done = subprocess.run(
            [sys.executable, "-m", "contrast_tasks", *words],
            cwd=Path(__file__).resolve().parents[2],
            env=environment | {"CONTRAST_PROJECT": str(project.root)},
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)

    assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.parametrize("words", LINES)
def test_a_closed_stdout_swallows_the_output(
    project: FakeProject, tmp_path: Path, words: list[str]
) -> None:
    said = shell(project, tmp_path, words, ">&-")

    assert said.endswith("status 0\n")
    assert "Traceback" not in said


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("words", LINES)
def test_output_that_finds_no_room_is_an_error(
    project: FakeProject, tmp_path: Path, words: list[str]
) -> None:
    said = shell(project, tmp_path, words, ">/dev/full")

    assert said == (
        "contrast-tasks: error: the output cannot be written: no space left on device\nstatus 2\n"
    )


def test_both_streams_closed_is_no_obstacle_to_the_work(
    project: FakeProject, tmp_path: Path
) -> None:
    said = shell(project, tmp_path, ["generate"], ">&- 2>&-")

    assert said == "status 0\n"
    assert (project.root / "manifest.json").is_file()
