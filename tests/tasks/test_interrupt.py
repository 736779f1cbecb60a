"""SIGTERM and SIGINT in the middle of a run: finished work is recorded, outputs stay as they were.

The third workload waits for a named pipe that nobody opens, after telling through another one that it has begun: the
test knows exactly where the run stands when it sends the signal, and nothing sleeps.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.fakes.commands import Terminal
from tests.fakes.signals import interruptible
from tests.fakes.workloads import FakeProject

pytestmark = pytest.mark.e2e

_ROOT = Path(__file__).resolve().parents[2]
_DRIVER = textwrap.dedent(
    """
    import os, sys
    from contrast_tasks.cli.main import main
    from contrast_tasks.steps import policies

    begun, never = sys.argv[1:3]
    derive, done = policies.derive, []

    def slow(project, workload, lock, **more):
        if len(done) == 2:
            with open(begun, "w") as pipe:
                pipe.write(workload.id)
            open(never).read()
        done.append(workload.id)
        return derive(project, workload, lock, **more)

    policies.derive = slow
    sys.exit(main(["generate"]))
    """
)
_PLAIN = _DRIVER.replace(
    "from contrast_tasks.cli.main import main", "from doit.doit_cmd import DoitMain"
).replace('main(["generate"])', "DoitMain().run([])")
_DODO = """\
from contrast_tasks.tasks.face import DOIT_CONFIG, task_contrast

__all__ = ["DOIT_CONFIG", "task_contrast"]
"""


def _interrupted(
    project: FakeProject, folder: Path, number: int, driver: str = _DRIVER
) -> tuple[int, str]:
    begun, never = folder / "begun", folder / "never"
    os.mkfifo(begun)
    os.mkfifo(never)
    with interruptible():
        process = subprocess.Popen(
            [sys.executable, "-c", driver, str(begun), str(never)],
            cwd=project.root,
            env={**os.environ, "CONTRAST_PROJECT": str(project.root), "PYTHONPATH": str(_ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        waiting = begun.read_text()
        assert waiting
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, errors


_BLOCKED = textwrap.dedent(
    """
    import sys
    from contrast_tasks.cli.main import main
    from contrast_tasks.steps import policies

    begun, never = sys.argv[1:3]

    def derive(project, workload, lock, **more):
        with open(begun, "w") as pipe:
            pipe.write(workload.id)
        open(never).read()

    policies.derive = derive
    sys.exit(main(["generate", "-n", "2"]))
    """
)


def test_workers_end_when_the_run_is_killed(
    terminal: Terminal, project: FakeProject, tmp_path: Path
) -> None:
    begun, never = tmp_path / "begun", tmp_path / "never"
    os.mkfifo(begun)
    os.mkfifo(never)
    process = subprocess.Popen(
        [sys.executable, "-c", _BLOCKED, str(begun), str(never)],
        cwd=project.root,
        env={**os.environ, "CONTRAST_PROJECT": str(project.root), "PYTHONPATH": str(_ROOT)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert begun.read_text()
        process.kill()
        # Its end comes when the last process that holds the other side is gone.
        process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        pytest.param(signal.SIGTERM, 143, "terminated", id="SIGTERM"),
        pytest.param(signal.SIGINT, 130, "interrupted", id="SIGINT"),
    ],
)
def test_an_interrupt_in_the_middle_loses_no_finished_work(
    terminal: Terminal, project: FakeProject, tmp_path: Path, number: int, code: int, word: str
) -> None:
    found_code, errors = _interrupted(project, tmp_path, number)

    assert found_code == code
    assert errors.endswith(f"contrast-tasks: {word}, finished work is kept\n")
    assert project.outputs() == {}
    assert _statuses(terminal) == ["changed", "changed", "up-to-date", "up-to-date"]
    assert "manifest.json" in project.outputs()


def test_a_run_in_the_background_ends_on_a_termination(
    terminal: Terminal, project: FakeProject, tmp_path: Path
) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"

    code, errors = _interrupted(project, tmp_path, signal.SIGTERM, f"{ignoring}\n{_DRIVER}")

    assert code == 143
    assert errors.endswith("contrast-tasks: terminated, finished work is kept\n")


def _statuses(terminal: Terminal) -> list[str]:
    shown = terminal.run("generate", "--output", "json")
    return sorted(
        task["status"]
        for task in json.loads(shown.out)["tasks"]
        if task["name"].startswith("workload:")
    )


def test_a_termination_of_plain_doit_loses_no_finished_work(
    terminal: Terminal, project: FakeProject, tmp_path: Path
) -> None:
    (project.root / "dodo.py").write_text(_DODO)

    code, _ = _interrupted(project, tmp_path, signal.SIGTERM, _PLAIN)

    assert code == -signal.SIGINT
    assert project.outputs() == {}
    assert _statuses(terminal) == ["changed", "changed", "up-to-date", "up-to-date"]


def test_a_termination_of_plain_doit_ends_its_workers(
    terminal: Terminal, project: FakeProject, tmp_path: Path
) -> None:
    (project.root / "dodo.py").write_text(_DODO)
    begun, never = tmp_path / "begun", tmp_path / "never"
    os.mkfifo(begun)
    os.mkfifo(never)
    driver = _BLOCKED.replace(
        "from contrast_tasks.cli.main import main", "from doit.doit_cmd import DoitMain"
    ).replace('main(["generate", "-n", "2"])', 'DoitMain().run(["run", "-n", "2"])')
    process = subprocess.Popen(
        [sys.executable, "-c", driver, str(begun), str(never)],
        cwd=project.root,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert begun.read_text()
        process.terminate()
        process.communicate(timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    assert process.returncode == -signal.SIGINT


def test_a_run_ends_although_nobody_reads_its_queue() -> None:
    program = (
        "from contrast_tasks.tasks.doit_overrides import ParallelRunner;"
        " ParallelRunner.Queue().put(bytes(1 << 20))"
    )

    result = subprocess.run([sys.executable, "-c", program], timeout=30, check=False)

    assert result.returncode == 0
