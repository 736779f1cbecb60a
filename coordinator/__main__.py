"""The Coordinator as a process: `python -m coordinator`; and `python -m coordinator fsck`, `export` and `import` for its store.

Its own evidence comes from the confidential guest it runs in, unless CONTRAST_EVIDENCE and CONTRAST_HOST_DATA name a
simulated processor. It judges peers by the evidence they present, by the kept endorsements, and by what a background thread
has fetched from the vendors (CONTRAST_ENDORSEMENTS_FETCH=off forbids that); a handshake never waits for the network.
Standard output stays empty; the log goes to standard error.
Exit codes: 0 stopped by SIGTERM or SIGINT; 2 options or settings; 30 an address cannot be bound or
the packet filter not opened; 1 a bug of ours.
"""

import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Sequence

from contrast_tasks.errors import ContrastError
from coordinator import logs
from coordinator.options import parse_options

_log = logging.getLogger("coordinator")

_EXIT_BUG = 1
_LARGE_BYTES = 256 * 1024
_STORE_COMMANDS = ("fsck", "export", "import")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT, or carry out a command of the store, and return the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words and words[0] in _STORE_COMMANDS:
        from coordinator import store_commands

        return store_commands.run(words, os.environ)
    # Block both signals in every thread and fetch them by one call: without a handler no code is interrupted.
    signals = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        logs.configure(os.environ)
        options = parse_options(words, os.environ)
        _allow_descriptors()
        _give_memory_back()
        # Wrong options are reported before gRPC and cryptography are loaded.
        from coordinator.service import run

        run(options, os.environ, lambda: signal.sigwait(signals))
    except ContrastError as err:
        _report(err)
        return err.exit_code
    except Exception:  # noqa: BLE001  # the outermost handler of the process
        _log.exception("the coordinator failed")
        return _EXIT_BUG
    return 0


def _allow_descriptors() -> None:
    """Use as many file descriptors as are allowed: the usual soft limit is for programs with select()."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _give_memory_back() -> None:
    """Have answers of many MiB leave the process with their end: glibc would keep them, for each thread some."""
    # Source of the numbers: malloc.h of glibc.
    mmap_threshold, arena_max = -3, -8
    with contextlib.suppress(AttributeError, OSError):  # another C library
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, _LARGE_BYTES)
        library.mallopt(arena_max, 2)


def _report(error: ContrastError) -> None:
    if not logging.getLogger().handlers:
        logs.configure({})
    extra = {"hint": error.hint} if error.hint else {}
    _log.error("%s", error, extra=extra)


if __name__ == "__main__":
    sys.exit(main())
