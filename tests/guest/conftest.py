"""Running a guest program as a process, and a simulated processor for it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_module() -> Callable[..., tuple[int, str]]:
    """Return a function that runs a module with exactly this environment; status and standard error come back.

    terminate_after: send SIGTERM once a line with this text was said.
    """

    def run(
        module: str, environ: Mapping[str, str], *, terminate_after: str | None = None
    ) -> tuple[int, str]:
        base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(
            [sys.executable, "-m", module],
            env={**base, **environ},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stderr is not None
            said = ""
            try:
                for line in process.stderr:
                    said += line
                    if terminate_after is not None and terminate_after in line:
                        process.send_signal(signal.SIGTERM)
                return process.wait(timeout=20), said
            finally:
                process.kill()

    return run


@pytest.fixture(scope="session")
def processor_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a simulated processor."""
    folder = tmp_path_factory.mktemp("guest") / "processor"
    SimulatedProcessor.load_or_create(folder)
    return folder
