"""Bend a request: change, remove, add or move one of its members at a time."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

Path = tuple[str | int, ...]


class Bent(NamedTuple):
    """A request with one change; where: the member, with `*` for each place in a list. how: what was done to it."""

    where: str
    how: str
    input: dict[str, Any]


class _Change(NamedTuple):
    """A change of a member that is still to be made; value: what stands there then, `_GONE` for nothing."""

    where: str
    how: str
    path: Path
    value: Any

    def of(self, request: dict[str, Any]) -> Bent:
        changed = copy.deepcopy(request)
        if not self.path:
            return Bent(self.where, self.how, {**changed, **self.value})
        holder = _holder(changed, self.path)
        if self.value is _GONE:
            del holder[self.path[-1]]
        else:
            holder[self.path[-1]] = self.value
        return Bent(self.where, self.how, changed)


_GONE = object()


def bends(request: dict[str, Any]) -> Iterator[Bent]:
    """Yield the request with each change of each of its members, and with a member that nobody knows."""
    return (each.of(request) for each in _changes(request))


def bent_at_random(request: dict[str, Any], count: int, drawn: random.Random) -> Iterator[Bent]:
    """Yield so many changed requests, every fourth of them changed twice."""
    once = _changes(request) if count else []
    for number in range(count):
        first = _drawn_of(once, request, drawn)
        if number % 4 != 3:
            yield first
            continue
        second = _drawn_of(_changes(first.input), first.input, drawn)
        if not _is_same(second.input, request):
            how = f"{first.how} and {second.how}"
            yield Bent(f"{first.where} and {second.where}", how, second.input)


def _drawn_of(changes: list[_Change], request: dict[str, Any], drawn: random.Random) -> Bent:
    """Return the request with one of the changes, one that makes a difference."""
    while True:
        bent = drawn.choice(changes).of(request)
        if not _is_same(bent.input, request):
            return bent


def _changes(request: dict[str, Any]) -> list[_Change]:
    found = [_Change("?", "added", (), {"unknown": 1})]
    for path, value in _places(request):
        where = "/".join("*" if isinstance(part, int) else part for part in path)
        found += [_Change(where, how, path, other) for how, other in _others(value)]
        found.append(_Change(where, "removed", path, _GONE))
        if isinstance(value, dict):
            found.append(_Change(f"{where}/?", "added", path, {**value, "unknown": 1}))
        if isinstance(value, list):
            found += [_Change(f"{where}/*", how, path, other) for how, other in _lists(value)]
    return found


def _is_same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; true and 1 are not."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _others(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield other values in place of one: of the same type, and of others."""
    if isinstance(value, bool):
        yield "flipped", not value
    elif isinstance(value, int | float):
        yield from (("more", value + 1), ("less", value - 1), ("negative", -5), ("a part", 0.5))
    elif isinstance(value, str):
        yield from (("longer", f"{value}x"), ("before", f"x{value}"), ("a newline", f"{value}\n"))
        yield from (
            ("upwards", f"{value}/../x"),
            ("a quote", f'{value}"'),
            ("other case", value.swapcase()),
        )
    yield from (
        ("null", None),
        ("empty", ""),
        ("zero", 0),
        ("true", True),
        ("no list", {}),
        ("no object", []),
        ("a word", "word"),
        ("nested", [[None]]),
    )


def _lists(value: list[Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield a list with its elements moved, and with more of them."""
    if value != value[::-1]:
        yield "reversed", value[::-1]
    for place in {0, len(value) // 2}:
        if len(value) > place + 1 and value[place] != value[place + 1]:
            yield "swapped", [*value[:place], value[place + 1], value[place], *value[place + 2 :]]
    if value:
        yield "repeated", [*value, value[0]]
        yield "repeated", [*value, value[-1]]
    more: tuple[Any, ...] = ("word", "WORD=1", {}, None, 0)
    yield from (("more", [*value, other]) for other in more)


def _places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    items: Any = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key), item
        yield from _places(item, (*path, key))


def _holder(value: Any, path: Path) -> Any:
    for part in path[:-1]:
        value = value[part]
    return value
