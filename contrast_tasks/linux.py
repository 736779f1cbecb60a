"""What Linux offers and Python's library does not: bonds between processes, and sockets at long paths."""

import contextlib
import ctypes
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

# The numbers are those of linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def die_with(parent: int, signum: int = signal.SIGKILL) -> None:
    """Ask for `signum` when the parent thread dies; end at once if `parent` is gone already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signum), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(128 + int(signum))


def bound_to_parent() -> Callable[[], None]:
    """Return a `preexec_fn` by which a child is killed when the calling process ends.

    The caller must be the main thread: the kernel looks at the thread that forked.
    """
    parent = os.getpid()
    return lambda: die_with(parent)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


@contextlib.contextmanager
def short_path(path: Path) -> Iterator[str]:
    """Yield a path of at most 40 bytes that names the same file while the context lasts.

    A socket's address holds 107 bytes, and the folders of projects lie deeper.
    """
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
