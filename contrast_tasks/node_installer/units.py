"""The unit that runs containerd, asked and restarted through the node's own init process.

Source: docs/internals/runtime.md 4.2; systemctl(1).
"""

import subprocess
from collections.abc import Callable, Sequence

from contrast_tasks.errors import ClusterError

_ON_NODE = ("nsenter", "--target", "1", "--mount", "--")

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a command; returns its exit status and output."""


def run(words: Sequence[str]) -> tuple[int, str]:
    """Run a command; raises ClusterError if it cannot be started."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except OSError as err:
        raise ClusterError(f"{words[0]} cannot be run: {err.strerror}") from err
    return done.returncode, done.stdout


def find_unit(names: Sequence[str], run: Run) -> str:
    """Return the first unit that the node has; raises ClusterError if it has none of them."""
    for name in names:
        status, _ = run([*_ON_NODE, "systemctl", "cat", name])
        if status == 0:
            return name
    raise ClusterError(
        f"the node has none of the units {', '.join(names)}",
        hint="name the unit that runs containerd in the ConfigMap contrast-node-installer-target-config",
    )


def active_since(unit: str, run: Run) -> int:
    """Return when a unit was started, in seconds since 1970; 0 if it does not run. Raises ClusterError."""
    words = ("systemctl", "show", "--property=ActiveEnterTimestamp", "--value", "--timestamp=unix")
    status, output = run([*_ON_NODE, *words, unit])
    text = output.strip().removeprefix("@")
    if status != 0 or (text and not text.isdecimal()):
        raise ClusterError(f"systemd does not say since when {unit} runs, but {output.strip()!r}")
    return int(text or 0)


def restart(unit: str, run: Run) -> None:
    """Restart a unit; raises ClusterError if that fails."""
    status, _ = run([*_ON_NODE, "systemctl", "restart", unit])
    if status != 0:
        raise ClusterError(
            f"{unit} did not restart, status {status}",
            hint=f"see 'journalctl -u {unit}' on the node",
        )
