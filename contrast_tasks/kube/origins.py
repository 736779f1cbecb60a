"""Where a part of a prepared object stands in the object that its user wrote.

Preparing a workload puts containers, volumes and mounts among the user's own, so their numbers in lists differ.
"""

from typing import Any

from contrast_tasks.pointers import Path


def origin(path: Path, prepared: Any, written: Any) -> Path:
    """Return the path in `written` of what is at `path` in `prepared`; of its nearest parent, where it was added.

    Items of lists belong together if they are equal, or if they have the same name.
    """
    found: Path = ()
    for step in path:
        prepared = _at(prepared, step)
        there = _number(step, prepared, written) if isinstance(written, list) else step
        if there is None:
            return found
        written = _at(written, there)
        found = (*found, there)
    return found


def _at(value: Any, step: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return value[step]
    return None


def _number(step: str | int, item: Any, written: list[Any]) -> int | None:
    """Return the number of an item in the list as it was written, the nearest of several; None if it was added."""
    numbers = [number for number, other in enumerate(written) if other == item]
    name = item.get("name") if isinstance(item, dict) else None
    if not numbers and name is not None:
        numbers = [n for n, other in enumerate(written) if _at(other, "name") == name]
    near = step if isinstance(step, int) else 0
    if not numbers and name is None and near < len(written):
        return near  # of items without names, preparing changes none
    return min(numbers, key=lambda number: abs(number - near), default=None)
