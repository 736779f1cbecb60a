"""Background fetching: one thread runs one job after the other.

A caller requests a job and continues with what it has. A failed job may be requested again after a pause that doubles each time,
or after the wait that the service asked for; a successful job says when it is due again. So peers that connect more often
cause no more requests to a service.
"""

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
"""Does its work and returns the seconds until it is due again; raises ContrastError if it failed."""


class Errands:
    """Jobs by key; requests are safe from any thread and never wait."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Start without jobs. The first one starts the thread, which ends with the process or with `stop`."""
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._waiting: dict[Hashable, Job] = {}
        self._due_s: dict[Hashable, float] = {}
        self._pause_s: dict[Hashable, float] = {}
        self._thread: threading.Thread | None = None
        self._running = False
        self.stopped = threading.Event()

    def ask(self, key: Hashable, job: Job) -> bool:
        """Accept a job unless it is waiting, not due yet, or one too many; return whether it was accepted."""
        with self._changed:
            if self.stopped.is_set() or key in self._waiting or not self._has_room(key):
                return False
            if self._monotonic() < self._due_s.get(key, float("-inf")):
                return False
            self._waiting[key] = job
            # Not due while it runs.
            self._due_s[key] = float("inf")
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="endorsements", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return True

    def _has_room(self, key: Hashable) -> bool:
        return key in self._due_s or len(self._due_s) < _MOST_JOBS

    def settle(self, timeout_s: float) -> bool:
        """Wait at most `timeout_s` until no job is left; return whether that is so. Not for handshakes."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._running, timeout=timeout_s
            )

    def stop(self) -> None:
        """End the thread and accept no more jobs; a running request is abandoned."""
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
        self._pause_s.pop(key, None)
        return wait_s
