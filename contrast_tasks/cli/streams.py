"""Writing to stdout and stderr: what is written is flushed, and a stream that is closed or full ends the command.

Only the standard library may be imported here, and as little of it as possible.
"""

import contextlib
import os
import sys

# Type checkers know this name; typing itself costs more than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO


class OutputLost(Exception):
    """Nobody reads the output any more, or there is no room for it; raised by `put` only, never by a network."""

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
    """Write a last line to stderr if that is possible."""
    with contextlib.suppress(OutputLost):
        put(sys.stderr, text)


def open_closed() -> None:
    """Give the process the streams it was started without: they swallow what is written."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # lives as long as the process
            setattr(sys, name, stream)


def silence() -> None:
    """Let nothing that is still to be written fail once more when the interpreter ends."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(descriptor, stream.fileno())
    os.close(descriptor)
