"""A store in memory, which ends with the process: what an archive holds, and what tests begin with."""

import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType

from coordinator.store.base import NotFound, StoreConflict, check_folder, split_key

_WATCH_S = 1.0


class MemoryStore:
    """Keeps values in a dictionary; values: the first ones, by key."""

    def __init__(self, values: Mapping[str, bytes] = MappingProxyType({})) -> None:
        self._values = dict(values)
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes:
        """Return the value, NotFound if there is none."""
        split_key(key)
        try:
            return self._values[key]
        except KeyError as err:
            raise NotFound(f"no value under {key}") from err

    def set(self, key: str, value: bytes) -> None:
        """Store the value."""
        split_key(key)
        with self._lock:
            self._values[key] = value

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value."""
        for key in values:
            split_key(key)
        for key, value in values.items():
            self.set(key, value)

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`, StoreConflict if another value stands there."""
        split_key(key)
        with self._lock:
            if self._values.get(key, b"") != old:
                raise StoreConflict(f"{key} was changed by another thread")
            self._values[key] = new

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`."""
        prefix = check_folder(folder) + "/"
        with self._lock:
            return sorted(key[len(prefix) :] for key in self._values if key.startswith(prefix))

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Call `on_change` every second until `stop` is set."""
        split_key(key)
        while not stop.wait(_WATCH_S):
            on_change()

    def describe(self, key: str) -> str:
        """Return the key."""
        return key
