"""The `contrast-tasks` command: signals, options, one or several commands, exit codes.

Only the standard library is loaded here, which is all that `generate` needs if nothing has changed.
Exit codes: docs/reference/commands.md. After an interrupt (130) or a termination (143) finished work is kept.
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
GC_THRESHOLD = 200_000


class Terminated(KeyboardInterrupt):
    """SIGTERM as an interrupt, on which doit records finished tasks."""


def _terminate(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise Terminated


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command line and return the exit code; argv is without the program's name."""
    words = sys.argv[1:] if argv is None else list(argv)
    from contrast_tasks.cli import streams

    streams.open_closed()
    try:
        return _run(words, is_process=argv is None)
    except Terminated:
        streams.put_last("contrast-tasks: terminated, finished work is kept\n")
        return TERMINATED
    except KeyboardInterrupt:
        streams.put_last("contrast-tasks: interrupted, finished work is kept\n")
        return INTERRUPTED
    except streams.OutputLost as lost:
        if not lost.reader_left:
            streams.put_last(f"contrast-tasks: error: the output cannot be written: {lost}\n")
        return TERMINATED if lost.reader_left else USAGE
    except BrokenPipeError:
        # From a stream that was not written by `put`.
        return TERMINATED
    finally:
        streams.silence()


def _run(words: list[str], *, is_process: bool) -> int:
    from contrast_tasks.cli import snapshot, streams

    root = os.environ.get("CONTRAST_PROJECT") or os.curdir
    line = snapshot.unchanged(words, root)
    if line is not None:
        streams.put(sys.stderr, f"{line}\n")
        return 0
    import gc

    # Modules and tasks are many small objects that live to the end, so searching them for cycles is wasted time.
    gc.set_threshold(GC_THRESHOLD)
    from contrast_tasks.cli.session import run_command_line

    before = signal.getsignal(signal.SIGTERM)
    with contextlib.suppress(ValueError):  # in a thread signals are the caller's
        signal.signal(signal.SIGTERM, _terminate)
    try:
        return run_command_line(words, root)
    finally:
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, before)
        if is_process:
            import gc

            # Saves the interpreter's last search for cycles.
            gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
