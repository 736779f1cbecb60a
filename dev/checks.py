"""`./doitw test`: run formatter, linter, type checker, layer contracts and tests, even after one of them fails."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT


class ChecksFailed(ContrastError):
    """At least one check failed; its output is on the terminal."""


def _steps(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    python = [sys.executable, "-m"]
    contracts = str(Path(sys.executable).with_name("lint-imports"))
    return [
        ("format", [*python, "ruff", "format", "--check", "--quiet", "."]),
        ("lint", [*python, "ruff", "check", "--quiet", "."]),
        ("types", [*python, "mypy"]),
        ("layers", [contracts]),
        *_tests([*python, "pytest", "-q"], words),
    ]


def _tests(pytest: list[str], words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the whole suite in three runs, or one run with the words as pytest's arguments."""
    if words:
        return [("tests", [*pytest, *words])]
    both = [*pytest, "-n", "2", "--dist", "loadgroup", "-m"]
    return [
        ("unit tests", [*both, "not e2e and not sweep"]),
        ("sweeps", [*both, "sweep"]),
        ("end-to-end tests", [*pytest, "-m", "e2e"]),
    ]


def run_checks(words: Sequence[str] = ()) -> dict[str, Any]:
    """Run every check; words: arguments for pytest. Raises ChecksFailed naming those that failed."""
    failed = []
    # Hundreds of processes load the same modules, so bytecode is kept.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for name, command in _steps(words):
        before = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        verdict = "ok" if code == 0 else f"failed with status {code}"
        sys.stderr.write(f"{name}: {verdict} ({time.monotonic() - before:.1f} s)\n")
        if code != 0:
            failed.append(name)
    if failed:
        raise ChecksFailed(f"{', '.join(failed)} failed", hint="see their output above")
    return {"wrote": []}
