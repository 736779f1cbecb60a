"""A store in a directory: one file per key, laid out as the keys are.

Writes go through a temporary file and a rename, so that a crash leaves the old value or the new one. The
compare-and-swap holds an flock on `<directory>/.lock`, which also holds between processes.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from contrast_tasks.files import write_atomic
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES
from coordinator.store.base import (
    NAME,
    NotFound,
    StoreConflict,
    StoreError,
    check_folder,
    split_key,
)

_POLL_S = 0.01
_WATCH_S = 1.0
# A disk syncs many files in little more time than one.
_WRITERS = 16


class FileStore:
    """Keeps values below `directory`, which is created when the first value is written.

    timeout_s: how long compare_and_swap waits for another process before it gives up.
    """

    def __init__(self, directory: Path, *, timeout_s: float = 10.0) -> None:
        self._directory = directory
        self._timeout_s = timeout_s

    def get(self, key: str) -> bytes:
        """Return the value, NotFound if there is none."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                value = file.read(MAX_OBJECT_BYTES + 1)
        except FileNotFoundError as err:
            raise NotFound(f"no value under {key}: {path} does not exist") from err
        except OSError as err:
            raise StoreError(f"cannot read {path}: {err.strerror}") from err
        if len(value) > MAX_OBJECT_BYTES:
            raise StoreError(f"cannot read {path}: it has more than {MAX_OBJECT_BYTES} bytes")
        return value

    def set(self, key: str, value: bytes) -> None:
        """Store the value; readers see the old one or the new one."""
        self.set_all({key: value})

    def set_all(self, values: Mapping[str, bytes]) -> None:
        """Store each value as `set` does, many at a time."""
        paths = {self._path(key): value for key, value in values.items()}
        folders = {path.parent for path in paths}
        try:
            for folder in folders:
                _make_directory(folder)
            with ThreadPoolExecutor(_WRITERS) as writers:
                for _ in writers.map(write_atomic, paths, paths.values()):
                    pass
            for folder in folders:
                _sync_directory(folder)
        except OSError as err:
            raise StoreError(f"cannot write {err.filename}: {err.strerror}") from err

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Replace `old` by `new`, StoreConflict if another value stands there."""
        path = self._path(key)
        with self._exclusive():
            try:
                found = self.get(key)
            except NotFound:
                found = b""
            if found != old:
                raise StoreConflict(f"{path} was changed by another process")
            self.set(key, new)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of all keys below `folder`; half-written temporary files are not keys."""
        directory = self._directory / check_folder(folder)
        try:
            return sorted(entry.name for entry in directory.iterdir() if NAME.fullmatch(entry.name))
        except FileNotFoundError:
            return []
        except OSError as err:
            raise StoreError(f"cannot list {directory}: {err.strerror}") from err

    def watch(self, key: str, on_change: Callable[[], None], stop: threading.Event) -> None:
        """Call `on_change` every second until `stop` is set: reading a small file costs less than watching it."""
        split_key(key)
        while not stop.wait(_WATCH_S):
            on_change()

    def describe(self, key: str) -> str:
        """Return the file's name."""
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        folder, name = split_key(key)
        return self._directory / folder / name

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        lock = self._directory / ".lock"
        deadline = time.monotonic() + self._timeout_s
        try:
            _make_directory(self._directory)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as err:
            raise StoreError(f"cannot lock {lock}: {err.strerror}") from err
        try:
            while not _try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise StoreError(f"{lock} is held by another process for {self._timeout_s:g} s")
                time.sleep(_POLL_S)
            yield
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_directory(directory: Path) -> None:
    # A new directory is durable only when the one above it is.
    if directory.is_dir():
        return
    _make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    _sync_directory(directory.parent)


def _sync_directory(directory: Path) -> None:
    # A rename is durable only when the directory is.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
