"""Whether another Coordinator on the same store serves its state, and so holds the seed.

Each one that serves holds a shared lock on one file; the kernel drops it when the process ends, however it ends.
"""

import fcntl
import os
import threading
from pathlib import Path
from typing import Protocol

from coordinator.store.base import StoreError

_NAME = ".serving"


class Presence(Protocol):
    """What the Coordinators of one store know of each other."""

    def announce(self) -> None:
        """Let the others know that this one serves."""

    def withdraw(self) -> None:
        """Let the others know that it does not any more."""

    def has_others(self) -> bool:
        """Return whether another one serves, while this one does not; raises StoreError if that cannot be told."""


class Alone:
    """The presence of a Coordinator whose store is its own."""

    def announce(self) -> None:
        """Do nothing."""

    def withdraw(self) -> None:
        """Do nothing."""

    def has_others(self) -> bool:
        """Return False."""
        return False


ALONE = Alone()


class LockPresence:
    """Presence by locks on a file in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / _NAME
        self._held: int | None = None
        self._lock = threading.Lock()

    def announce(self) -> None:
        """Hold a shared lock from now on; raises StoreError."""
        with self._lock:
            if self._held is None:
                descriptor = self._open()
                fcntl.flock(descriptor, fcntl.LOCK_SH)
                self._held = descriptor

    def withdraw(self) -> None:
        """Give the lock back."""
        with self._lock:
            if self._held is not None:
                os.close(self._held)
                self._held = None

    def has_others(self) -> bool:
        """Return whether anybody holds a lock; asked only by who holds none."""
        descriptor = self._open()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as err:
            raise StoreError(f"cannot lock {self._path}: {err.strerror}") from err
