"""How often each identity may ask: so many requests at once, and as many a second as flow back."""

import threading
import time
from collections.abc import Callable


class Quota:
    """A bucket of tokens for each identity; clock: seconds that never go back.

    Identities are those of accepted certificates, so there are no more than manifests have named.
    """

    def __init__(
        self, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, identity: str) -> bool:
        """Return whether the identity may go on now, and count it if so."""
        now = self._clock()
        with self._lock:
            left, since = self._left.get(identity, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_s)
            is_allowed = left >= 1
            self._left[identity] = (left - is_allowed, now)
            return is_allowed
