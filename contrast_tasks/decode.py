"""Typed access to the JSON that programs write for each other: answers, records, messages between our own processes.

    host = parse_json(content).at("remote").at("host").text()

raises DecodeError with the message `/remote/host: found an integer, wanted a string`, at the first fault.
Documents that users write are declared instead (`declare`): one declaration gives their schema, their reference page and
all of their faults.
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

from contrast_tasks.json_text import NotJson, read_json

Record = TypeVar("Record")

# In this order, since true is an int too.
_KINDS: tuple[tuple[type, str], ...] = (
    (dict, "an object"),
    (list, "a list"),
    (str, "a string"),
    (bool, "true or false"),
    (int, "an integer"),
    (float, "a fraction"),
    (type(None), "null"),
)


class DecodeError(ValueError):
    """A document is not strict JSON, or does not have the expected form."""


class Json(NamedTuple):
    """A JSON value and its RFC 6901 pointer, unescaped. Each method raises DecodeError for a value of another type."""

    value: Any
    pointer: str = ""

    def at(self, key: str) -> "Json":
        """Return a required member."""
        member = self.get(key)
        if member is None:
            raise DecodeError(f"{self.pointer}/{key}: missing")
        return member

    def get(self, key: str) -> "Json | None":
        """Return a member, None if it is absent."""
        members = self._of(dict, "an object")
        return Json(members[key], f"{self.pointer}/{key}") if key in members else None

    def filled(self, key: str) -> "Json | None":
        """Return a member, None if it is absent, null or empty; programs differ in how they write an unset one."""
        member = self.get(key)
        return member if member is not None and member.value else None

    def members(self) -> Iterator[tuple[str, "Json"]]:
        """Yield the names and values of an object's members."""
        for key, value in self._of(dict, "an object").items():
            yield key, Json(value, f"{self.pointer}/{key}")

    def items(self) -> "list[Json]":
        """Return the elements of a list."""
        elements = enumerate(self._of(list, "a list"))
        return [Json(value, f"{self.pointer}/{number}") for number, value in elements]

    def text(self) -> str:
        """Return a string."""
        text: str = self._of(str, "a string")
        return text

    def base64(self) -> bytes:
        """Return the bytes that a string holds in standard base64, padding included."""
        text = self.text()
        try:
            return base64.b64decode(text, validate=True)
        except ValueError as err:
            raise DecodeError(f"{self.pointer or 'the document'}: not standard base64") from err

    def texts(self) -> tuple[str, ...]:
        """Return a list of strings."""
        return tuple(item.text() for item in self.items())

    def integer(self) -> int:
        """Return an integer; true and false are not integers."""
        if isinstance(self.value, bool):
            raise self.wrong("an integer")
        number: int = self._of(int, "an integer")
        return number

    def flag(self) -> bool:
        """Return true or false."""
        flag: bool = self._of(bool, "true or false")
        return flag

    def number(self) -> float:
        """Return an integer or a fraction."""
        return self.value if isinstance(self.value, float) else self.integer()

    def wrong(self, wanted: str) -> DecodeError:
        """Return an error that names the expected and the found type. The value may be a secret and is left out."""
        found = next(words for kind, words in _KINDS if isinstance(self.value, kind))
        return DecodeError(f"{self.pointer or 'the document'}: found {found}, wanted {wanted}")

    def _of(self, kind: type, wanted: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.wrong(wanted)
        return self.value


def parse_json(content: bytes | str) -> Json:
    """Return the document; raise DecodeError if it is not strict JSON."""
    try:
        return Json(read_json(content).document)
    except NotJson as err:
        raise DecodeError(f"line {err.line}: {err}" if err.line else str(err)) from err


def read_record(kind: type[Record], place: Json) -> Record:
    """Return a dataclass read from an object with exactly its fields as members.

    Field types: str, int, float, bool, Any, X | None, tuple[X, ...], tuple[X, Y], Mapping[str, X] and dataclasses.
    Raises DecodeError.
    """
    hints = get_type_hints(kind)
    for name, member in place.members():
        if name not in hints:
            raise DecodeError(f"{member.pointer}: unknown")
    return kind(**{name: _read(hint, place.at(name)) for name, hint in hints.items()})


_SCALARS: Mapping[type, Callable[[Json], Any]] = {
    str: Json.text,
    int: Json.integer,
    float: Json.number,
    bool: Json.flag,
}


def _read(hint: Any, place: Json) -> Any:
    if hint is Any:
        return place.value
    if hint in _SCALARS:
        return _SCALARS[hint](place)
    inner = get_args(hint)
    kind = get_origin(hint)
    if kind is UnionType:
        return None if place.value is None else _read(inner[0], place)
    if kind is tuple:
        return _read_tuple(inner, place)
    if kind is Mapping:
        return {name: _read(inner[1], member) for name, member in place.members()}
    return read_record(hint, place)


def _read_tuple(inner: tuple[Any, ...], place: Json) -> tuple[Any, ...]:
    items = place.items()
    if inner[-1] is Ellipsis:
        return tuple(_read(inner[0], item) for item in items)
    if len(items) != len(inner):
        raise place.wrong(f"a list of {len(inner)}")
    return tuple(map(_read, inner, items))
