"""A store in memory, which keeps the contract of every store."""

import threading
from collections.abc import Callable, Mapping

from coordinator.store.base import NotFound, StoreConflict, check_folder, split_key


class MemoryStore:
    """Keep values in a dictionary."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
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
                raise StoreConflict(f"{key} was changed by somebody else")
            self._values[key] = new

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`."""
        prefix = check_folder(folder) + "/"
        with self._lock:
            return sorted(key[len(prefix) :] for key in self._values if key.startswith(prefix))

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Call `on_change` after each write, until `stop` is set."""
        split_key(key)
        while not stop.wait(1.0):
            on_change()

    def describe(self, key: str) -> str:
        """Return the key."""
        return key
