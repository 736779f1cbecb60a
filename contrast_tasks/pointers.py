"""Places inside a document: paths of keys and positions, and their RFC 6901 pointers."""

from collections.abc import Iterable
from typing import Any

Step = str | int
Path = tuple[Step, ...]


def to_pointer(path: Iterable[Step]) -> str:
    """Return the pointer of a path, "" for the whole document."""
    return "".join(f"/{escape(str(step))}" for step in path)


def replaced(root: Any, path: Path, value: Any) -> Any:
    """Return a copy of a document with another value at `path`; everything else is shared with the original."""
    if not path:
        return value
    copy: Any = dict(root) if isinstance(root, dict) else list(root)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


def escape(step: str) -> str:
    """Return one member's name, escaped for a pointer."""
    return step.replace("~", "~0").replace("/", "~1")
