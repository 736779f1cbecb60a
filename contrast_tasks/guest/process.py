"""What the programs of a pod have in common: how they end on a signal, speak to the log, and wait for something."""

import signal
import sys
import time
from collections.abc import Callable

from contrast_tasks import __version__

_PAUSE_S = 0.02

Say = Callable[[str], None]
"""Writes one line to the pod's log."""


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived; like KeyboardInterrupt it must not be caught on the way."""


def begin(program: str) -> Say:
    """Let the first SIGTERM or SIGINT raise Terminated, say the version, and return how to say more."""

    def say(text: str) -> None:
        print(f"{program}: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the pod's log

    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _terminate)
    say(f"version {__version__}")
    return say


def _terminate(_signum: int, _frame: object) -> None:
    # Whoever is ending already needs no second signal.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, signal.SIG_IGN)
    raise Terminated


def pause() -> None:
    """Sleep a moment between two looks at something that another process changes."""
    time.sleep(_PAUSE_S)


def wait_until(
    condition: Callable[[], bool],
    limit_s: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[], None] = pause,
) -> bool:
    """Return whether the condition came true within `limit_s` seconds."""
    deadline = clock() + limit_s
    while not condition():
        if clock() > deadline:
            return False
        pause()
    return True
