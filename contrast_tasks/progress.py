"""How far a long command is: what whoever works tells, to whoever shows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Progress(Protocol):
    """Is told of one kind of work, such as images that are resolved."""

    def begin(self, name: str) -> None:
        """Note that the work called `name` begins, or that it still goes on."""

    def end(self, name: str, size_bytes: int = 0) -> None:
        """Note that it has ended; size_bytes: what was transferred for it."""


# Shows a work while its context lasts. From what is done, as "resolving", for how many, and what one of them is, as "image".
Watch = Callable[[str, int, str], AbstractContextManager[Progress]]


class _Unseen:
    def begin(self, name: str) -> None:
        pass

    def end(self, name: str, size_bytes: int = 0) -> None:
        pass


def unseen(verb: str, total: int, unit: str) -> AbstractContextManager[Progress]:
    """Return progress that nobody watches; a Watch."""
    del verb, total, unit
    return nullcontext(_Unseen())
