"""A value in a user's document and its path, so that findings name their place."""

from collections.abc import Iterator
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.catalogue import Entry
from contrast_tasks.findings import Findings
from contrast_tasks.pointers import Path


class Place:
    """A JSON value and its path; null counts as absent, as in Kubernetes."""

    __slots__ = ("findings", "path", "value")

    def __init__(self, value: Any, path: Path, findings: Findings[Path]) -> None:
        self.value = value
        self.path = path
        self.findings = findings

    def report(
        self,
        entry: Entry,
        message: str,
        hint: str | None = None,
        answer: tuple[str, Any] | None = None,
    ) -> None:
        """Add a finding at this place; answer: dotted key of the workload's table in contrast.toml, and value."""
        self.findings.report(entry, self.path, message, hint, answer=answer)

    def has(self, key: str) -> bool:
        """Return whether a member is present and not null."""
        return isinstance(self.value, dict) and self.value.get(key) is not None

    def at(self, key: str) -> "Place":
        """Return a member, with the value None if it is absent."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        return Place(value, (*self.path, key), self.findings)

    def mapping(self, key: str) -> "Place":
        """Return a mapping, an empty one if the member is absent or of another type, which is an error."""
        place = self.at(key)
        if place.value is None:
            place.value = {}
        elif not isinstance(place.value, dict):
            place.wrong("a mapping")
            place.value = {}
        return place

    def items(self, key: str) -> Iterator["Place"]:
        """Yield the elements of a list, none if the member is absent or of another type, which is an error."""
        place = self.at(key)
        if place.value is None:
            return
        if not isinstance(place.value, list):
            place.wrong("a list")
            return
        for index, value in enumerate(place.value):
            yield Place(value, (*place.path, index), self.findings)

    def entries(self, key: str) -> Iterator["Place"]:
        """Yield the mappings in a list; other elements are errors."""
        for place in self.items(key):
            if isinstance(place.value, dict):
                yield place
            else:
                place.wrong("a mapping")

    def text(self, key: str, default: str = "") -> str:
        """Return a string, the default if the member is absent or of another type, which is an error."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return default
        if isinstance(value, str):
            return value
        self.at(key).wrong("a string")
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the strings in a list; other elements are errors."""
        found = []
        for place in self.items(key):
            if isinstance(place.value, str):
                found.append(place.value)
            else:
                place.wrong("a string")
        return tuple(found)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """Return a boolean, the default if the member is absent or of another type, which is an error."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        self.at(key).wrong("true or false")
        return default

    def number(self, key: str) -> int | None:
        """Return an integer of at least 0, None if the member is absent or another value, which is an error."""
        value = self.value.get(key) if isinstance(self.value, dict) else None
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        self.at(key).wrong("an integer of at least 0")
        return None

    def wrong(self, wanted: str) -> None:
        """Report that the value has another type than expected."""
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
