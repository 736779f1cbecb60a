"""Children that an interrupt reaches, also where the tests run in the background, which ignores it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interruptible() -> Iterator[None]:
    """Let processes that are started meanwhile take SIGINT; an ignored signal would be ignored by them too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
