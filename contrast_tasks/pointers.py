"""Places inside a document: paths of keys and positions, and their RFC 6901 pointers."""

from collections.abc import Iterable

Step = str | int
Path = tuple[Step, ...]


def to_pointer(path: Iterable[Step]) -> str:
    """Return the pointer of a path, "" for the whole document."""
    return "".join(f"/{escape(str(step))}" for step in path)


def escape(step: str) -> str:
    """Return one member's name, escaped for a pointer."""
    return step.replace("~", "~0").replace("/", "~1")
