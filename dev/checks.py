"""`./doitw test`: run formatter, linter, type checker, layer contracts and tests, even after one of them fails."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from contrast_tasks.errors import ContrastError
from dev.checkout import ROOT

_PROCESSES = 2


class ChecksFailed(ContrastError):
    """At least one check failed; its output is on the terminal."""


def _steps(words: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Return each check's name, and its commands, which run side by side."""
    python = [sys.executable, "-m"]
    contracts = str(Path(sys.executable).with_name("lint-imports"))
    return [
        ("format", [[*python, "ruff", "format", "--check", "--quiet", "."]]),
        ("lint", [[*python, "ruff", "check", "--quiet", "."]]),
        ("types", [[*python, "mypy"]]),
        ("layers", [[contracts]]),
        *_tests([*python, "pytest", "-q"], words),
    ]


def _tests(pytest: list[str], words: Sequence[str]) -> list[tuple[str, list[list[str]]]]:
    """Return the whole suite in three runs, or one run with the words as pytest's arguments."""
    if words:
        return [("tests", [[*pytest, *words]])]
    files = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/test_*.py"))
    # Handing out twelve thousand short tests one by one costs as much as running them, so each process has its own files.
    unit = [*pytest, "-m", "not e2e and not sweep"]
    shares = [[*unit, *files[number::_PROCESSES]] for number in range(_PROCESSES)]
    spread = [*pytest, "-n", str(_PROCESSES), "--dist", "loadgroup", "-m"]
    return [
        ("unit tests", shares),
        ("sweeps", [[*spread, "sweep"]]),
        ("end-to-end tests", [[*pytest, "-m", "e2e"]]),
    ]


def _status(commands: Sequence[list[str]], environment: Mapping[str, str]) -> int:
    """Run the commands side by side and return the first status that is not 0.

    The first one's output is shown as it comes, that of each other when all have ended.
    """
    with ExitStack() as stack:
        outputs = [stack.enter_context(TemporaryFile()) for _ in commands[1:]]
        running = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out)
            )
            for command, out in zip(commands, [None, *outputs], strict=True)
        ]
        codes = [process.wait() for process in running]
        for output in outputs:
            output.seek(0)
            sys.stderr.write(output.read().decode(errors="replace"))
    return next((code for code in codes if code != 0), 0)


def run_checks(words: Sequence[str] = ()) -> dict[str, Any]:
    """Run every check; words: arguments for pytest. Raises ChecksFailed naming those that failed."""
    failed = []
    began = time.monotonic()
    # Hundreds of processes load the same modules, so bytecode is kept.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    for name, commands in _steps(words):
        before = time.monotonic()
        code = _status(commands, environment)
        verdict = "ok" if code == 0 else f"failed with status {code}"
        sys.stderr.write(f"{name}: {verdict} ({time.monotonic() - before:.1f} s)\n")
        if code != 0:
            failed.append(name)
    sys.stderr.write(f"all checks: {time.monotonic() - began:.1f} s\n")
    if failed:
        raise ChecksFailed(f"{', '.join(failed)} failed", hint="see their output above")
    return {"wrote": []}
