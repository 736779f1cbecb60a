"""How a running Coordinator reacts to the head that it finds in the store.

    missing               write it back: deleting it must not make the next start look like the first
    ours                  nothing to do
    an ancestor of ours   a rollback: write ours back, which is newer and signed too, and report it
    unsigned, malformed   write ours back and report it: write access alone must not stop the service or its updates
    signed, not ours      another Coordinator with our seed has set a manifest: our state becomes stale

Every ten minutes it looks whether all that the head leads to is still there.
Source: docs/internals/coordinator.md 4.7, 8.5.
"""

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum

from coordinator.history import LATEST_KEY, HistoryCorrupt
from coordinator.repair import repair
from coordinator.state import Guard, State
from coordinator.store.base import NotFound, StoreConflict, StoreError
from coordinator.unavailable import StateUnavailable

_log = logging.getLogger("coordinator.history")

_MEND_S = 600.0


class Observation(Enum):
    """What was found, and thereby what was done."""

    QUIET = "quiet"
    REPAIRED = "repaired"
    ROLLBACK = "rollback"
    FORGED = "forged"
    STALE = "stale"


def observe(guard: Guard) -> Observation:
    """Compare the store's head once with the state in memory, and act as in the table above.

    Raises StoreError if the store cannot be read.
    """
    guard.settle()
    try:
        state = guard.current()
    except StateUnavailable:
        return Observation.QUIET
    try:
        raw = guard.history.store.get(LATEST_KEY)
    except NotFound:
        return _restore(guard, state, b"", Observation.REPAIRED)
    if raw == state.latest.render():
        return Observation.QUIET
    return _judge(guard, state, raw)


def mend(guard: Guard) -> None:
    """Write back what somebody removed of the history, and report it. Raises StoreError."""
    try:
        state = guard.current()
    except StateUnavailable:
        return
    if not (keys := repair(guard.history, state)):
        return
    guard.audit.record("objects-restored", transition=state.latest.transition_hash, count=len(keys))
    _log.error(
        "Objects of the history were removed or changed from outside and are written back",
        extra={"count": len(keys), "first": keys[0]},
    )


def watch(
    guard: Guard,
    stop: threading.Event,
    *,
    pause_s: float = 1.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Observe the store whenever its head may have changed, until `stop` is set; each kind of trouble is logged once.

    pause_s: before a watch that broke off begins anew.
    """
    looks = _Looks(guard, clock)
    while True:
        try:
            guard.history.store.watch(LATEST_KEY, looks.look, stop)
        except StoreError as err:
            looks.report(f"history cannot be watched: {err}")
        else:
            return
        if stop.wait(pause_s):
            return


class _Looks:
    """The looks of one watch, and the trouble of the last one."""

    def __init__(self, guard: Guard, clock: Callable[[], float]) -> None:
        self._guard = guard
        self._clock = clock
        self._mended_at = clock()
        self._reported = ""

    def look(self) -> None:
        """Observe once; never raises."""
        trouble = ""
        try:
            observe(self._guard)
            if self._clock() - self._mended_at >= _MEND_S:
                self._mended_at = self._clock()
                mend(self._guard)
        except StoreError as err:
            trouble = f"history cannot be watched: {err}"
        except Exception as err:  # noqa: BLE001  # outermost: without this thread liveness fails, and a restart loses the seed
            trouble = f"history cannot be watched: {type(err).__name__}"
            if trouble != self._reported:
                _log.exception("History watch failed")
        self.report(trouble)

    def report(self, trouble: str) -> None:
        """Log trouble that is not the last one's; "" for none."""
        if trouble and trouble != self._reported:
            _log.error("History watch: %s", trouble)
        self._reported = trouble


def _judge(guard: Guard, state: State, raw: bytes) -> Observation:
    try:
        head = guard.history.parse_latest(raw)
    except HistoryCorrupt:
        return _restore(guard, state, raw, Observation.FORGED)
    if not head.is_signed_by(state.engine.transaction_key.public_key()):
        return _restore(guard, state, raw, Observation.FORGED)
    if head.transition_hash in state.documents.transitions:
        return _restore(guard, state, raw, Observation.ROLLBACK)
    if not guard.outdate(state):
        return Observation.QUIET
    guard.audit.record("stale", transition=head.transition_hash)
    _log.warning(
        "History changed, marking state as stale", extra={"transition": head.transition_hash.hex()}
    )
    return Observation.STALE


def _restore(guard: Guard, state: State, found: bytes, seen: Observation) -> Observation:
    """Replace the head `found` by ours, and write its objects, unless this process has a newer state by now."""
    if not guard.is_current(state):
        return Observation.QUIET
    history = guard.history
    latest = state.latest
    try:
        repair(history, state)
        history.store.compare_and_swap(LATEST_KEY, found, latest.render())
    except StoreConflict:
        return Observation.QUIET
    guard.audit.record("head-restored", transition=latest.transition_hash, seen=seen.value)
    _log.error(
        "History head was changed from outside and is written back",
        extra={"seen": seen.value, "transition": latest.transition_hash.hex()},
    )
    return seen
