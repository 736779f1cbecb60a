"""Fetching in the background: one thread runs jobs one after the other.

A caller asks for a job and goes on with what is at hand. A job that failed is run again after a pause that doubles each time, or
after the one that the service asked for; a job that succeeded says when it is due again. So no peer can make a service be asked
more often, however often it connects.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Hashable

from contrast_tasks.attestation.endorsements.fetch import EndorsementUnavailable
from contrast_tasks.errors import ContrastError

_log = logging.getLogger("endorsements")

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 600.0
# More than there are kinds of platforms and product lines in one cluster.
_MOST_JOBS = 64
_STOP_S = 2.0

Job = Callable[[], float]
"""Does its work and returns the seconds after which it is due again; raises ContrastError if it could not."""


class Errands:
    """Jobs by key; safe to ask from any thread, never waits."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start with nothing to do; the thread is started by the first job and ends with the process or `stop`."""
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, Job] = {}
        self._due_s: dict[Hashable, float] = {}
        self._pause_s: dict[Hashable, float] = {}
        self._thread: threading.Thread | None = None
        self._running = False
        self.stopped = threading.Event()

    def ask(self, key: Hashable, job: Job) -> bool:
        """Take a job, unless it is waiting, not due yet, or one too many; return whether it was taken."""
        with self._changed:
            if self.stopped.is_set() or key in self._waiting or not self._has_room(key):
                return False
            if self._monotonic() < self._due_s.get(key, float("-inf")):
                return False
            self._waiting[key] = job
            # Nobody may ask for it again while it runs.
            self._due_s[key] = float("inf")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="endorsements", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def _has_room(self, key: Hashable) -> bool:
        return key in self._due_s or len(self._due_s) < _MOST_JOBS

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is left to do, at most `timeout_s`; return whether nothing is. Not for handshakes."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._running, timeout=timeout_s
            )

    def stop(self) -> None:
        """Take no more jobs and end; a request that is under way is left to the end of the process."""
        with self._changed:
            self.stopped.set()
            self._waiting.clear()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(_STOP_S)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._running = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self.stopped.is_set())
                if self.stopped.is_set():
                    return
                key = next(iter(self._waiting))
                job = self._waiting.pop(key)
                self._running = True
            wait_s = self._wait_after(key, job)
            with self._changed:
                self._due_s[key] = self._monotonic() + wait_s

    def _wait_after(self, key: Hashable, job: Job) -> float:
        """Run a job and return the seconds until it may be run again."""
        try:
            wait_s = job()
        except ContrastError as err:
            pause_s = min(2 * self._pause_s.get(key, FIRST_PAUSE_S / 2), LONGEST_PAUSE_S)
            self._pause_s[key] = pause_s
            asked_s = err.retry_after_s if isinstance(err, EndorsementUnavailable) else 0.0
            _log.warning("Endorsements not fetched: %s", err)
            return max(pause_s, asked_s)
        except Exception:  # noqa: BLE001  # the outermost handler of a thread
            _log.exception("fetching endorsements failed")
            return LONGEST_PAUSE_S
        with contextlib.suppress(KeyError):
            del self._pause_s[key]
        return wait_s
