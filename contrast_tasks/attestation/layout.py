"""Structures of fixed layout: a dataclass declares the place of each field, from which reading, writing and checks follow.

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Header:
        version: Annotated[int, At(0, "H")]
        key_type: Annotated[int, At(4, "H")]

Bytes that no field covers are reserved: they are written as zeros, and other values are refused.
"""

import struct
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

from contrast_tasks.attestation.errors import MalformedEvidence

T = TypeVar("T")
_NOTHING: Mapping[str, int] = {}


class At(NamedTuple):
    """The place of a field: its offset in bytes and its little-endian `struct` format; several values make a tuple."""

    offset: int
    form: str


class Layout(Generic[T]):
    """Reads and writes one structure.

    shape: a dataclass whose fields are annotated with `At`, in ascending order; fields beyond `size_bytes` keep their default.
    what: the structure's name in messages. reason: prefix of its reasons for machines, as in `report-length`.
    """

    def __init__(self, shape: type[T], size_bytes: int, *, what: str, reason: str = "") -> None:
        self.size_bytes = size_bytes
        self._shape, self._what, self._reason = shape, what, reason
        self._names: list[str] = []  # one for each value; the values of a tuple share their name
        self._sizes: list[int] = []  # the length of each byte string, 0 for numbers
        self._tuples: dict[str, slice] = {}
        self._reserved: list[slice] = []
        form, end = "<", 0
        for name, hint in shape.__annotations__.items():
            place: At = hint.__metadata__[0]
            if place.offset >= size_bytes:
                break
            form += self._gap(end, place.offset) + place.form
            end = place.offset + struct.calcsize(f"<{place.form}")
            blank = struct.unpack(f"<{place.form}", bytes(end - place.offset))
            if len(blank) > 1:
                self._tuples[name] = slice(len(self._names), len(self._names) + len(blank))
            self._names += [name] * len(blank)
            self._sizes += _sizes(blank)
        self._attributes = attrgetter(*dict.fromkeys(self._names))
        self._struct = struct.Struct(form + self._gap(end, size_bytes))

    def _gap(self, start: int, end: int) -> str:
        if start == end:
            return ""
        self._reserved.append(slice(start, end))
        return f"{end - start}x"

    def parse(self, raw: bytes) -> T:
        """Return the fields of a structure; raises MalformedEvidence for another length or a set reserved byte."""
        if len(raw) != self.size_bytes:
            raise self._malformed(
                f"{self._what} has {len(raw)} bytes, wanted {self.size_bytes}", "length"
            )
        for gap in self._reserved:
            if any(raw[gap]):
                raise self._malformed(
                    f"{self._what} has reserved bytes set at {gap.start:#x}", "reserved"
                )
        found = self._struct.unpack(raw)
        fields: dict[str, Any] = dict(zip(self._names, found, strict=True))
        for name, values in self._tuples.items():
            fields[name] = found[values]
        return self._shape(**fields)

    def values(self, source: object, instead: Mapping[str, int] = _NOTHING) -> list[Any]:
        """Return the values of all fields of `source` in order, with tuples flattened.

        source: an object with attributes named like the fields: the dataclass, or a protobuf message.
        instead: values that replace attributes.
        """
        if instead:
            return [
                instead[name] if name in instead else getattr(source, name) for name in self._names
            ]
        found = list(self._attributes(source))
        for values in self._tuples.values():
            found[values.start : values.start + 1] = found[values.start]
        return found

    def render(
        self, source: object, instead: Mapping[str, int] = _NOTHING, *, what: str = ""
    ) -> bytes:
        """Return the bytes of a structure; raises MalformedEvidence for a value that does not fit its field.

        source, instead: as in `values`. what: the source's name in messages.
        """
        values = self.values(source, instead)
        sizes = _sizes(values)
        if sizes != self._sizes:
            raise self._malformed(f"{what or self._what} {self._misfit(sizes)}", "length")
        try:
            return self._struct.pack(*values)
        except struct.error as err:
            message = f"{what or self._what} has a number that does not fit its width"
            raise self._malformed(message, "length") from err

    def _misfit(self, sizes: list[int]) -> str:
        if len(sizes) != len(self._sizes):
            return f"has {len(sizes)} values, wanted {len(self._sizes)}"
        rows = zip(self._names, sizes, self._sizes, strict=True)
        name, size, wanted = next(row for row in rows if row[1] != row[2])
        return f"field {name} has {size} bytes, wanted {wanted}"

    def _malformed(self, message: str, kind: str) -> MalformedEvidence:
        return MalformedEvidence(message, reason=self._reason and f"{self._reason}-{kind}")


def _sizes(values: Iterable[int | bytes]) -> list[int]:
    return [0 if isinstance(value, int) else len(value) for value in values]
