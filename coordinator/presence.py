"""Which other Coordinators on the same store serve their state, and so hold the seed.

With a store of files each one that serves holds a lock on a file of its own, which says where its mesh API is; the kernel drops
the lock when the process ends, however it ends.
"""

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from coordinator.store.base import StoreError

_FOLDER = ".peers"


class Presence(Protocol):
    """What the Coordinators of one store know of each other."""

    def announce(self) -> None:
        """Let the others know that this one serves."""

    def withdraw(self) -> None:
        """Let the others know that it does not any more."""

    def others(self) -> list[str]:
        """Return the mesh APIs (host:port) of others that serve; "" for one that does not tell. Raises StoreError."""


class Alone:
    """The presence of a Coordinator whose store is its own."""

    def announce(self) -> None:
        """Do nothing."""

    def withdraw(self) -> None:
        """Do nothing."""

    def others(self) -> list[str]:
        """Return nothing."""
        return []


ALONE = Alone()


class LockPresence:
    """Presence by locks on files in `directory`. address: of the own mesh API, once it is known."""

    def __init__(self, directory: Path, address: str = "") -> None:
        self.address = address
        self._folder = directory / _FOLDER
        self._path = self._folder / secrets.token_hex(8)
        self._held: int | None = None
        self._lock = threading.Lock()

    def announce(self) -> None:
        """Hold a lock from now on; raises StoreError."""
        with self._lock:
            if self._held is not None:
                return
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                while (held := _locked(self._path)) is None:
                    pass
                os.write(held, self.address.encode())
            except OSError as err:
                raise StoreError(f"cannot lock {self._path}: {err.strerror}") from err
            self._held = held

    def withdraw(self) -> None:
        """Give the lock back."""
        with self._lock:
            if self._held is not None:
                self._path.unlink(missing_ok=True)
                os.close(self._held)
                self._held = None

    def others(self) -> list[str]:
        """Return the addresses in the files that others hold locks on."""
        try:
            paths = sorted(self._folder.iterdir())
            return [found for path in paths if path != self._path for found in _address_in(path)]
        except FileNotFoundError:
            return []
        except OSError as err:
            raise StoreError(f"cannot lock {self._folder}: {err.strerror}") from err


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds the file's lock; None if somebody who looked at it before that has removed the file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        # Others hold it only while they look.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(descriptor)):
                return descriptor
    except OSError:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _address_in(path: Path) -> Iterator[str]:
    """Yield the address of whoever holds the file's lock; remove a file that nobody holds."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            yield file.read(300).decode("ascii", "replace")
        else:
            path.unlink(missing_ok=True)
