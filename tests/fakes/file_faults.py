"""What the file system does to a process at one step of its writes: ends it there, or refuses.

A step is a call by which a file or directory comes to be, gets its content, becomes durable, takes its name, or goes away. Calls are
counted in the process, whoever makes them and in whichever thread, so that a test knows nothing of what is written where.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_EVENTS = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link"})
_lock = threading.Lock()
_folder = ""
_at_step: Callable[[int], None] | None = None
_steps = 0
_is_hooked = False


def kill_itself() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def stepping(folder: str | os.PathLike[str], at_step: Callable[[int], None]) -> Iterator[None]:
    """Call `at_step` before each step below `folder`, with its number from 1; what it raises the caller of the step gets."""
    global _folder, _at_step, _steps, _is_hooked  # noqa: PLW0603  # an audit hook stays for ever, so there is one
    if not _is_hooked:
        sys.addaudithook(_on_event)
        _is_hooked = True
    _folder, _at_step, _steps = os.fspath(folder), at_step, 0
    fsync = os.fsync
    os.fsync = _fsync(fsync)  # type: ignore[assignment]  # it raises no audit event
    try:
        yield
    finally:
        os.fsync, _at_step = fsync, None


def _fsync(inner: Callable[[int], None]) -> Callable[[int], None]:
    def fsync(descriptor: int) -> None:
        if str(Path(f"/proc/self/fd/{descriptor}").readlink()).startswith(_folder):
            _step()
        inner(descriptor)

    return fsync


def _on_event(event: str, arguments: tuple[Any, ...]) -> None:
    if _at_step is None:
        return
    is_write = event in _EVENTS or (event == "open" and bool(arguments[2] & _WRITING))
    if is_write and str(arguments[0]).startswith(_folder):
        _step()


def _step() -> None:
    global _steps  # noqa: PLW0603  # as above
    with _lock:
        _steps += 1
        number, act = _steps, _at_step
    if act is not None:
        act(number)
