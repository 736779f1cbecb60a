"""Shared by the programs of a pod: ending on a signal, logging, waiting for a condition."""

import os
import select
import signal
import sys
import time
from collections.abc import Callable

from contrast_tasks import __version__

_PAUSE_S = 0.02
_ENDING = (signal.SIGTERM, signal.SIGINT)

Say = Callable[[str], None]
"""Writes one line to the pod's log."""


class Terminated(BaseException):
    """SIGTERM or SIGINT arrived; a BaseException like KeyboardInterrupt, so that `except Exception` does not stop it."""


def begin(program: str) -> Say:
    """Make the first SIGTERM or SIGINT raise Terminated, log the version, and return the log function."""

    def say(text: str) -> None:
        print(f"{program}: {text}", file=sys.stderr, flush=True)  # noqa: T201  # the pod's log

    for signum in _ENDING:
        signal.signal(signum, _terminate)
    say(f"version {__version__}")
    return say


def _terminate(_signum: int, _frame: object) -> None:
    # A second signal must not interrupt the clean-up.
    for signum in _ENDING:
        signal.signal(signum, signal.SIG_IGN)
    raise Terminated


def wait_for_signal() -> None:
    """Wait until SIGTERM or SIGINT raises Terminated; may be called once, in the main thread.

    A signal that arrives just before the wait would not end it, and another thread may be the one that gets it; the
    descriptor that Python writes to in both cases does.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    while True:
        select.select([reader], [], [])
        os.read(reader, 1)


def pause() -> None:
    """Sleep briefly before checking a condition again."""
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
