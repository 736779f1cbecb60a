"""The first run of a new clone: seconds until its environment is made and a command has answered, and the size of that.

Packages come from the caches of uv and pip, which a run before has filled, so that no network is measured.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from dev.bench.timing import Measured, environment, run
from dev.checkout import ROOT

_BUDGET = "40 s"


def measure_first_run(folder: Path) -> Iterator[Measured]:
    """Yield seconds with uv on PATH, with uv out of the lock, by pip alone, and the MiB of the environment.

    Raises CalledProcessError if a run fails.
    """
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    without = _path_without_uv()
    _first_run(clone, PATH=without)
    uv = shutil.which("uv", path=Path(sys.prefix) / "bin") or shutil.which("uv")
    if uv is not None:
        tools = folder / "tools"
        tools.mkdir()
        (tools / "uv").symlink_to(uv)
        seconds = _first_run(clone, PATH=f"{tools}{os.pathsep}{without}")
        yield Measured(name="first run: uv installed", value=seconds, unit="s", budget=_BUDGET)
    seconds = _first_run(clone, PATH=without)
    yield Measured(name="first run: uv out of the lock", value=seconds, unit="s", budget=_BUDGET)
    used = subprocess.check_output(["du", "-sk", str(clone / ".venv")], text=True).split()[0]
    yield Measured(name="first run: environment", value=round(int(used) / 1024), unit="MiB")
    # uv is not used if pip gets arguments.
    seconds = _first_run(clone, PATH=without, CONTRAST_PIP_ARGS="--prefer-binary")
    yield Measured(name="first run: pip alone", value=seconds, unit="s", budget=_BUDGET)


def _first_run(clone: Path, **more: str) -> float:
    shutil.rmtree(clone / ".venv", ignore_errors=True)
    environ = {**environment(**more)}
    del environ["PYTHONPATH"]
    return round(run(["./doitw", "--version"], cwd=clone, env=environ) / 1000, 1)


def _path_without_uv() -> str:
    """Return PATH without the folders that have uv, and without the environment of this process."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(
        folder
        for folder in folders
        if not (Path(folder) / "uv").exists() and not Path(folder).is_relative_to(sys.prefix)
    )
