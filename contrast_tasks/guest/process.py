"""Shared by the programs of a pod: ending on a signal, logging, waiting for a condition."""

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
    """Return when the first SIGTERM or SIGINT arrives; both are blocked from then on, for the clean-up."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    signal.sigwait(_ENDING)


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
