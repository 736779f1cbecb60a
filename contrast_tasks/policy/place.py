"""A value in a user's document together with its path, so that every complaint names its place."""

from collections.abc import Iterator
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.catalogue import Entry
from contrast_tasks.findings import Findings
from contrast_tasks.pointers import Path


class Place:
    """A JSON value and where it stands; an explicit null counts as absent, as Kubernetes reads it."""

    __slots__ = ("findings", "path", "value")

    def __init__(self, value: Any, path: Path, findings: Findings[Path]) -> None:
        self.value = value
        self.path = path
        self.findings = findings

    def report(self, entry: Entry, message: str, hint: str | None = None) -> None:
        """Note what is found at this place."""
        self.findings.report(entry, self.path, message, hint)

    def has(self, key: str) -> bool:
        """Return whether the member is present and not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def at(self, key: str) -> "Place":
        """Return the member, whose value is None when it is absent."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Place(value, (*self.path, key), self.findings)

    def mapping(self, key: str) -> "Place":
        """Return the member as a mapping, an empty one when absent; another type is an error."""
        place = self.at(key)
        if place.value is None:
            place.value = {}
        elif not isinstance(place.value, dict):
            place.wrong("a mapping")
            place.value = {}
        return place

    def items(self, key: str) -> Iterator["Place"]:
        """Yield the elements of the member, none when absent; another type than a list is an error."""
        place = self.at(key)
        if place.value is None:
            return
        if not isinstance(place.value, list):
            place.wrong("a list")
            return
        for index, value in enumerate(place.value):
            yield Place(value, (*place.path, index), self.findings)

    def entries(self, key: str) -> Iterator["Place"]:
        """Yield the elements of the member that are mappings; others are errors."""
        for place in self.items(key):
            if isinstance(place.value, dict):
                yield place
            else:
                place.wrong("a mapping")

    def text(self, key: str, default: str = "") -> str:
        """Return the member as text; another type is an error and gives the default."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return default
        if isinstance(value, str):
            return value
        self.at(key).wrong("a string")
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the member as a list of texts; elements of another type are errors."""
        found = []
        for place in self.items(key):
            if isinstance(place.value, str):
                found.append(place.value)
            else:
                place.wrong("a string")
        return tuple(found)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return the member as a boolean; another type is an error and gives the default."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.at(key).wrong("true or false")
        return default

    def number(self, key: str) -> int | None:
        """Return the member as an integer of at least 0; another value is an error and gives None."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self.at(key).wrong("an integer of at least 0")
        return None

    def wrong(self, wanted: str) -> None:
        """Record that this place holds a value of another type."""
        self.report(catalogue.WRONG_TYPE, f"expected {wanted}, found {_kind(self.value)}")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {value[:40]!r}"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else "null"
