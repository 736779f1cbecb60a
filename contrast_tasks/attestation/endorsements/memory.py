"""A cache in memory that forgets answers after nine months. Source: docs/internals/attestation.md 2.5 "Caching rules"."""

import threading
from collections.abc import Callable

from contrast_tasks.web.answers import Answer

LIFETIME_S = 270 * 86400.0
_MOST_ANSWERS = 256


class MemoryCache:
    """Stores answers by address; safe to use from any thread."""

    def __init__(self, *, monotonic: Callable[[], float]) -> None:
        """Start empty; `monotonic` is a clock in seconds."""
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, Answer]] = {}

    def get(self, url: str) -> Answer | None:
        """Return the stored answer of an address, None if there is none or it is older than nine months."""
        with self._lock:
            since_s, answer = self._answers.get(url, (0.0, None))
            if answer is not None and self._monotonic() - since_s > LIFETIME_S:
                del self._answers[url]
                return None
            return answer

    def put(self, url: str, answer: Answer) -> None:
        """Store an answer, in place of the oldest one if the cache is full."""
        with self._lock:
            self._answers.pop(url, None)
            if len(self._answers) >= _MOST_ANSWERS:
                del self._answers[next(iter(self._answers))]
            self._answers[url] = (self._monotonic(), answer)

    def drop(self, url: str) -> None:
        """Forget an address."""
        with self._lock:
            self._answers.pop(url, None)
