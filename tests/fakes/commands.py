"""Runs a command line in this process and gives back what a terminal would have shown; and stands in for kubectl."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from contrast_tasks.cli.main import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Exit code and both streams."""

    code: int
    out: str
    err: str


def stand_in(patch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Put a program `kubectl` first on PATH that does what a shell script says."""
    folder.mkdir(exist_ok=True)
    program = folder / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    patch.setenv("PATH", f"{folder}:/usr/bin:/bin")


@dataclass(frozen=True, slots=True)
class Terminal:
    """A shell in a project's folder."""

    root: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def run(self, *words: str) -> Shown:
        """Run one command line from the folder."""
        self.patch.setenv("CONTRAST_PROJECT", str(self.root))
        here = Path.cwd()
        os.chdir(self.root)
        self.capture.readouterr()
        try:
            code = main(list(words))
        finally:
            os.chdir(here)
        shown = self.capture.readouterr()
        return Shown(code=code, out=shown.out, err=shown.err)


def quiet_environment(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take the machine's own settings out of the test's environment, and give it a cache of its own."""
    for name in [name for name in os.environ if name.startswith("CONTRAST_")]:
        patch.delenv(name)
    for name in ("GITHUB_ACTIONS", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        patch.delenv(name, raising=False)
    patch.setenv("CONTAINERS_REGISTRIES_CONF", str(folder / "no-registries.conf"))
    patch.setenv("NO_COLOR", "1")
    patch.setenv("CONTRAST_CACHE_DIR", str(folder))
