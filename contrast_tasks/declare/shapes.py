"""Shapes of values in documents that users write: leaves, lists, maps and tables, each with its words and JSON Schema.

Every start makes them, so patterns are compiled when the first value is checked.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from contrast_tasks.records import REFUSED, REQUIRED, Member, Record

HEX = frozenset("0123456789abcdefABCDEF")
_HEX_LOWER = frozenset("0123456789abcdef")


class Leaf(Record, kw_only=False):
    """One value.

    wanted: what it must be, in words. schema: the same as JSON Schema, as far as that can say it. known: texts to suggest
    for a similar one. hint: for a text similar to none of them. explain: returns why a value is refused, where
    `is <value>, expected <wanted>` says too little, and "" where that is enough. size_bytes: decoded size of hex, 0 for other values.
    """

    wanted: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any]
    known: tuple[str, ...] = ()
    hint: str = ""
    explain: Callable[[Any], str] | None = None
    size_bytes: int = 0


class List(Record, kw_only=False):
    """An array of elements of one shape. If `wanted` is set, an array of leaves is judged, and reported, as one value.

    least, most: bounds of the number of elements. null: what `null` is read as. unique: no element occurs twice.
    """

    element: Any
    wanted: str = ""
    least: int = 0
    most: int | None = None
    null: Any = REFUSED
    unique: bool = False

    def accepts(self, value: Any) -> bool:
        """Return whether an array of leaves, or null, is accepted."""
        return (value is None and self.null is not REFUSED) or (
            isinstance(value, list)
            and self.least <= len(value)
            and (self.most is None or len(value) <= self.most)
            and all(map(self.element.accepts, value))
        )


class NullList(tuple[str, ...]):
    """The empty list that is read from and written as `null`: it means the same as `[]`, but its bytes differ."""

    __slots__ = ()


class Map(Record, kw_only=False):
    """A table whose keys the user chooses; chosen: placeholder for such a key in the reference pages."""

    key: Leaf
    value: Any
    chosen: str = "<name>"


class Table(Record, kw_only=False):
    """A table with a fixed set of keys; record: class of the value read from it, None for a mapping."""

    keys: Mapping[str, Member]
    record: type[Record] | None = None


def text(wanted: str, pattern: str, **more: Any) -> Leaf:
    """Return the leaf of a string that a pattern matches as a whole."""
    return Leaf(
        wanted,
        lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None,
        {"type": "string", "pattern": f"^(?:{pattern})$"},
        **more,
    )


def integer(low: int, high: int, wanted: str = "") -> Leaf:
    """Return the leaf of an integer within inclusive bounds; true and 3.0 are refused."""
    return Leaf(
        wanted or f"an integer from {low} to {high}",
        lambda value: type(value) is int and low <= value <= high,
        {"type": "integer", "minimum": low, "maximum": high},
    )


def one_of(*values: Any, wanted: str = "") -> Leaf:
    """Return the leaf of a fixed set of values of one type; true and 1 differ."""
    kind = type(values[0])
    words = [
        "true" if value is True else "false" if value is False else str(value) for value in values
    ]
    return Leaf(
        wanted or " or ".join(words),
        lambda value: type(value) is kind and value in values,
        {
            **({"type": "integer"} if kind is int else {}),
            **({"const": values[0]} if len(values) == 1 else {"enum": list(values)}),
        },
        known=tuple(value for value in values if isinstance(value, str)),
    )


def hex_digits(size_bytes: int, *, lower: bool = False) -> Leaf:
    """Return the leaf of bytes in hex; lower: refuse capitals, for values that are compared as text."""
    digits, letters = 2 * size_bytes, _HEX_LOWER if lower else HEX
    return Leaf(
        f"{digits} {'lower-case ' if lower else ''}hex digits",
        lambda value: isinstance(value, str) and len(value) == digits and letters.issuperset(value),
        {
            "type": "string",
            "pattern": "^[0-9a-f]*$" if lower else "^[0-9A-Fa-f]*$",
            "minLength": digits,
            "maxLength": digits,
        },
        size_bytes=size_bytes,
    )


BOOL = Leaf("true or false", lambda value: isinstance(value, bool), {"type": "boolean"})
ANY_TEXT = Leaf("a string", lambda value: isinstance(value, str), {"type": "string"})
TEXTS = List(ANY_TEXT, "an array of strings")
TEXT = Leaf(
    "a string that is not empty",
    lambda value: isinstance(value, str) and bool(value.strip()),
    {"type": "string", "pattern": r"\S"},
)


def table_of(record: type[Record]) -> Table:
    """Return the table that a record is read from; each dot in a name opens a table within the table."""
    return Table(_keys(record), record)


def _keys(record: type[Record]) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for entry in record.members:
        *tables, last = entry.name.split(".")
        level = keys
        for name in tables:
            table = level.setdefault(name, entry.replace(shape=Table({}), meaning="", absent={}))
            level = table.shape.keys
        resolved = entry.replace(shape=_with_tables(entry.shape))
        if last in level:
            level[last].shape.keys.update(resolved.shape.keys)
        else:
            level[last] = resolved
    return keys


def _with_tables(shape: Any) -> Any:
    """Return a shape with each record class replaced by its table."""
    if isinstance(shape, type):
        return table_of(shape)
    if isinstance(shape, List) and isinstance(shape.element, type):
        return shape.replace(element=table_of(shape.element))
    if isinstance(shape, Map) and isinstance(shape.value, type):
        return shape.replace(value=table_of(shape.value))
    return shape


def measurable(record: type[Record]) -> Table:
    """Return the table of the members that a file of reference values may set, in the manifest's spelling.

    Hex must be in lower case, since it is copied into the manifest. A value that only the user knows may be blank, and a
    part null.
    """
    keys = {}
    for entry in record.members:
        if entry.measured or entry.settable:
            is_required = entry.absent is REQUIRED and not entry.settable
            keys[entry.name] = Member(
                name=entry.name,
                shape=_measurable(entry.shape, entry),
                meaning=entry.meaning,
                default=None,
                absent=REQUIRED if is_required else None,
            )
    return Table(keys)


def _measurable(shape: Any, entry: Member) -> Any:
    if isinstance(shape, type):
        return measurable(shape)
    if isinstance(shape, List):
        return shape.replace(element=_measurable(shape.element, entry))
    leaf: Leaf = hex_digits(shape.size_bytes, lower=True) if shape.size_bytes else shape
    if entry.suspect and entry.suspect.fault is entry.fault:
        leaf = _other_than(leaf, entry.suspect.value)
    return or_blank(leaf, entry.blank) if entry.missing else leaf


def _other_than(leaf: Leaf, refused: object) -> Leaf:
    return leaf.replace(
        wanted=f"{leaf.wanted} that are not a placeholder",
        accepts=lambda value: leaf.accepts(value) and value != refused,
        schema={**leaf.schema, "not": {"const": refused}},
    )


def or_blank(leaf: Leaf, blank: object) -> Leaf:
    """Return the leaf that also takes one other value, which stands for no value."""
    return leaf.replace(
        accepts=lambda value: value == blank or leaf.accepts(value),
        # A validator's error about an anyOf does not name the fault.
        schema={"if": {"const": blank}, "then": True, "else": leaf.schema},
    )


def settable(record: type[Record]) -> Table:
    """Return the table of the members that contrast.toml may set, by their keys there; no key has a default."""
    keys = {}
    for entry in record.members:
        if entry.settable:
            is_part = isinstance(entry.shape, type)
            shape = settable(entry.shape) if is_part else entry.shape
            keys[entry.key] = Member(
                name=entry.key,
                shape=shape,
                meaning=entry.meaning,
                default=REQUIRED,
                absent=REQUIRED,
            )
    return Table(keys)
