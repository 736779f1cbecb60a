"""Linux features that Python's standard library lacks: process control by prctl(2), and sockets at long paths."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# Source: linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def signal_on_parent_death(signum: int) -> None:
    """Let the kernel send `signum` to this process when the thread that started it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)


def die_with(parent: int, signum: int) -> None:
    """Send this process `signum` when its parent dies; exit at once if `parent` is already gone."""
    signal_on_parent_death(signum)
    if os.getppid() != parent:
        os._exit(128 + int(signum))


def bound_to_parent() -> Callable[[], None]:
    """Return a `preexec_fn` that kills the child when the calling process ends.

    The caller must be the main thread: the kernel watches the thread that forked.
    """
    parent = os.getpid()
    return lambda: die_with(parent, signal.SIGKILL)


def become_subreaper() -> None:
    """Let this process, not init, adopt its orphaned descendants."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a short path to the same file, valid inside the context; only the file's own name counts towards its length.

    A socket address holds 107 bytes, which project paths exceed.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
