"""The `contrast-tasks` command: signals, options, one or several commands, exit codes.

Only the standard library is loaded here; when nothing changed since the last `generate`, nothing else is.
Exit codes: architecture.md 5; 130 and 143 for an interrupt and a termination, with finished work kept.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

USAGE = 2
INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM; doit records finished tasks on an interrupt, but not on a signal."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


def _freeze() -> None:
    # The interpreter looks for cycles once more before it ends; a process that ends has none worth finding.
    import gc

    gc.freeze()


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line and return the exit code; argv is without the program's name."""
    words = sys.argv[1:] if argv is None else list(argv)
    from contrast_tasks.cli import snapshot

    root = os.environ.get("CONTRAST_PROJECT") or os.curdir
    line = snapshot.unchanged(words, root)
    if line is not None:
        sys.stderr.write(f"{line}\n")
        return 0
    from contrast_tasks.cli.session import run_command_line

    before = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(ValueError):  # in a thread signals are the caller's
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return run_command_line(words, root)
    except Terminated:
        sys.stderr.write("contrast-tasks: terminated, finished work is kept\n")
        return TERMINATED
    except KeyboardInterrupt:
        sys.stderr.write("contrast-tasks: interrupted, finished work is kept\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader left; nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return TERMINATED
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, before)
        if argv is None:
            _freeze()


if __name__ == "__main__":
    sys.exit(main())
