"""JSON read member by member, so that what is wrong is told with its place.

    host = parse_json(content).at("remote").at("host").text()

raises DecodeError with the message `/remote/host: found an integer, wanted a text`.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_KINDS = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "an integer",
    float: "a fraction",
    bool: "true or false",
    type(None): "null",
}


class DecodeError(ValueError):
    """A document is not JSON, or not of the form that its reader wants."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON value and its RFC 6901 pointer, without escapes; each method raises DecodeError for another type."""

    value: Any
    pointer: str = ""

    def at(self, key: str) -> "Json":
        """Return a member, which must be there."""
        found = self.get(key)
        if found is None:
            raise DecodeError(f"{self.pointer}/{key}: missing")
        return found

    def get(self, key: str) -> "Json | None":
        """Return a member, None if it is absent."""
        members = self._of(dict, "an object")
        return Json(members[key], f"{self.pointer}/{key}") if key in members else None

    def members(self) -> Iterator[tuple[str, "Json"]]:
        """Yield the names and values of an object's members."""
        for key, value in self._of(dict, "an object").items():
            yield key, Json(value, f"{self.pointer}/{key}")

    def items(self) -> "list[Json]":
        """Return the elements of a list."""
        elements = enumerate(self._of(list, "a list"))
        return [Json(value, f"{self.pointer}/{number}") for number, value in elements]

    def text(self) -> str:
        """Return a text."""
        text: str = self._of(str, "a text")
        return text

    def texts(self) -> tuple[str, ...]:
        """Return a list of texts."""
        return tuple(item.text() for item in self.items())

    def integer(self) -> int:
        """Return an integer; true and false are none."""
        if isinstance(self.value, bool):
            raise self.wrong("an integer")
        number: int = self._of(int, "an integer")
        return number

    def number(self) -> float:
        """Return an integer or a fraction."""
        return self.value if isinstance(self.value, float) else self.integer()

    def wrong(self, wanted: str) -> DecodeError:
        """Return the error that says what was wanted here, without the value: it may be a secret."""
        found = _KINDS[type(self.value)]
        return DecodeError(f"{self.pointer or 'the document'}: found {found}, wanted {wanted}")

    def _of(self, kind: type, wanted: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.wrong(wanted)
        return self.value


def parse_json(content: bytes | str) -> Json:
    """Return the document; raise DecodeError if it is not JSON."""
    try:
        return Json(json.loads(content))
    except RecursionError as err:
        raise DecodeError("nested too deeply") from err
    except ValueError as err:
        raise DecodeError(f"not JSON: {err}") from err
