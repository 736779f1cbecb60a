"""What chores need besides requirements.lock: installed into the environment of ./doitw when the first of them runs."""

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from contrast_tasks.tasks.actions import perform
from dev.checkout import ROOT
from dev.requirements import LOCK, TOOLS_LOCK

# Packages that are published as sources only; pure Python all of them.
_WITHOUT_WHEELS = ("argparse-manpage",)


class NoTools(ContrastError):
    """The packages cannot be installed; uv's output is on the terminal."""


def with_tools(task: str, **arguments: Any) -> Any:
    """Do what `perform` does for `task`, once the packages of requirements-dev.lock are installed; raises NoTools."""
    install_tools(Path(sys.prefix))
    return perform(task, **arguments)


def install_tools(environment: Path) -> None:
    """Install the packages unless they are there; an environment that ./doitw did not make is left to whoever made it."""
    lock, stamp = ROOT / TOOLS_LOCK, environment / TOOLS_LOCK
    if not (environment / LOCK).exists():
        return
    if stamp.exists() and stamp.read_bytes() == lock.read_bytes():
        return
    sys.stderr.write(f"installing tests' and linters' packages from {TOOLS_LOCK} (once)\n")
    began = time.monotonic()
    uv = shutil.which("uv", path=environment / "bin") or shutil.which("uv")
    installer = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    command = [
        *(*installer, "install", "--quiet", "--require-hashes", "-r", str(lock)),
        *("--only-binary", ":all:", *(f"--no-binary={name}" for name in _WITHOUT_WHEELS)),
        *(("--python", sys.executable) if uv else ()),
    ]
    if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
        raise NoTools(
            "the packages that tests and linters need could not be installed",
            hint="run again when the packages can be reached",
        )
    shutil.copyfile(lock, stamp)
    sys.stderr.write(f"installed in {time.monotonic() - began:.0f} s\n")
