"""A store that tells how long each request took and how it ended; everything else is the store's own."""

import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from coordinator.store.base import NotFound, Store, StoreConflict

Observe = Callable[[str, str, float], None]
"""Gets the name of the operation, its result (`ok`, `not-found`, `conflict`, `error`), and seconds."""
Result = TypeVar("Result")


class MeasuredStore:
    """Passes every request on to `store`."""

    def __init__(self, store: Store, observe: Observe) -> None:
        self._store = store
        self._observe = observe
        self.watch = store.watch
        self.describe = store.describe

    def get(self, key: str) -> bytes:
        """Return the value."""
        return self._timed("get", lambda: self._store.get(key))

    def set(self, key: str, value: bytes) -> None:
        """Store the value."""
        self._timed("set", lambda: self._store.set(key, value))

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value."""
        self._timed("set_all", lambda: self._store.set_all(values))

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`."""
        self._timed("compare_and_swap", lambda: self._store.compare_and_swap(key, old, new))

    def names(self, folder: str) -> list[str]:
        """Return the names of all keys below `folder`."""
        return self._timed("names", lambda: self._store.names(folder))

    def _timed(self, operation: str, ask: Callable[[], Result]) -> Result:
        began, result = time.perf_counter(), "error"
        try:
            answer = ask()
            result = "ok"
        except NotFound:
            result = "not-found"
            raise
        except StoreConflict:
            result = "conflict"
            raise
        finally:
            self._observe(operation, result, time.perf_counter() - began)
        return answer
