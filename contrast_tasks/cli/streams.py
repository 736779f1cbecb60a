"""Writing to stdout and stderr: every write is flushed, and a closed or full stream ends the command.

This module imports as little as possible, even of the standard library.
"""

import contextlib
import os
import sys

# Type checkers know this name, and importing typing is slow.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


class OutputLost(Exception):
    """The output cannot be written: the reader has gone or the disk is full. Raised by `put` only."""

    def __init__(self, cause: OSError) -> None:
        super().__init__((cause.strerror or type(cause).__name__).lower())
        self.reader_left = isinstance(cause, BrokenPipeError)


def put(stream: "TextIO", text: str) -> None:
    """Write `text` and flush it; raises OutputLost if that fails."""
    try:
        stream.write(text)
        stream.flush()
    except OSError as err:
        raise OutputLost(err) from err


def put_last(text: str) -> None:
    """Write a last line to stderr, if possible."""
    with contextlib.suppress(OutputLost):
        put(sys.stderr, text)


def open_closed() -> None:
    """Replace standard streams that the process was started without by /dev/null."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # lives as long as the process
            setattr(sys, name, stream)


def silence() -> None:
    """Drop what cannot be written, so that the interpreter's own flush at exit does not fail."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
