"""The time that a command takes: the best of several runs, also as a ratio to `python -c pass` on the same machine."""

import contextlib
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dev.checkout import ROOT

REPEATS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One line of the table.

    value: milliseconds, or what `unit` says: bytes, MiB or events per second. ratio: to `python -c pass`, or to what stands
    beside it.
    budget: what it should be at most, in words.
    """

    name: str
    value: float
    unit: str = "ms"
    ratio: float | None = None
    budget: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the known members."""
        return {key: value for key, value in asdict(self).items() if value not in (None, "")}


def environment(**more: str) -> dict[str, str]:
    """Return the environment for measured commands, in which bytecode is kept as on a user's machine."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CONTRAST_") and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {**kept, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", **more}


def run(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> float:
    """Run one command and return the milliseconds it took. Raises CalledProcessError with its output if it fails."""
    before = time.perf_counter()
    subprocess.run(words, cwd=cwd, env=env, check=True, capture_output=True)
    return (time.perf_counter() - before) * 1000


def run_beside_terminal(
    words: Sequence[str], *, plain: Path, shown: Path, env: Mapping[str, str]
) -> tuple[float, float, bytes]:
    """Run one command in two folders at the same time, so that load on the machine affects both; one has a terminal.

    Returns the seconds of processor time of the plain one and of that on the terminal, and what the terminal showed.
    Raises CalledProcessError if one fails.
    """
    ours, its = pty.openpty()
    streams = {plain: subprocess.DEVNULL, shown: its}
    processes = [
        subprocess.Popen(words, cwd=place, env=env, stdin=stream, stdout=stream, stderr=stream)
        for place, stream in streams.items()
    ]
    os.close(its)
    screen = bytearray()
    # Linux ends reading with an error when no process has the terminal any more.
    with os.fdopen(ours, "rb", buffering=0) as terminal, contextlib.suppress(OSError):
        while piece := terminal.read(1 << 16):
            screen += piece
    used = []
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        used.append(usage.ru_utime + usage.ru_stime)
    if failed := next((each for each in processes if each.returncode != 0), None):
        raise subprocess.CalledProcessError(failed.returncode, words, bytes(screen))
    return used[0], used[1], bytes(screen)


_PEAK = """\
import resource, subprocess, sys
quiet = subprocess.DEVNULL
status = subprocess.run(sys.argv[1:], stdout=quiet, stderr=quiet).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def peak_mib(words: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> float:
    """Run one command and return the memory, in MiB, that its largest process had at most.

    A small process starts it: to Linux the memory of whoever starts a process counts as that process' own.
    Raises CalledProcessError if it fails.
    """
    done = subprocess.run(
        [*python("-c", _PEAK), *words],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return int(done.stdout) / 1024


def measured(
    name: str, measure: Callable[[], float], *, count: int = REPEATS, budget: str = ""
) -> Measured:
    """Return the best of `count` runs, with the ratio to the best of as many runs of `python -c pass`.

    The runs alternate, so that changing load on the machine affects both.
    """
    base, value = [], []
    for _ in range(count):
        base.append(run(python("-c", "pass"), cwd=ROOT, env=environment()))
        value.append(measure())
    return Measured(name=name, value=min(value), ratio=min(value) / min(base), budget=budget)


def python(*words: str) -> list[str]:
    """Return a command line of this interpreter."""
    return [sys.executable, *words]
