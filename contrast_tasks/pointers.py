"""Places inside a document: paths of keys and positions, and RFC 6901 pointers, which show them to people."""

from collections.abc import Iterable

Step = str | int
Path = tuple[Step, ...]


def to_pointer(path: Iterable[Step]) -> str:
    """Return the pointer to a path, "" for the whole document."""
    return "".join(f"/{escape(str(step))}" for step in path)


def escape(step: str) -> str:
    """Return the name of one member as a pointer has it."""
    return step.replace("~", "~0").replace("/", "~1")
