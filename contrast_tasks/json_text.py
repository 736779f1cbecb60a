"""Strict JSON: refuses what Go's or Python's reader lets pass, and gives the line of each value.

Two readers of one document must never see two documents, so a member that occurs twice is an error. This is the only
reader of JSON that users, peers, registries and vendors write; `decode` reads values out of what it returns.
Source: RFC 8259; docs/internals/manifest.md 2.1 (what the reference product lets pass), 2.2 (M001).
"""

import json
import re
from bisect import bisect_right
from functools import cached_property
from typing import Any, Self

from contrast_tasks.pointers import escape
from contrast_tasks.records import Record

_PIECE = r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+'
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
# Python reads an integer of up to 4300 digits; beyond 64 bits no field takes one.
_DIGITS_MAX = 40
_DEPTH_MAX = 100
_SHOWN = 40
_SURROGATE = "[\ud800-\udfff]"


class NotJson(ValueError):
    """The content is not strict JSON; line and column count from 1, None where unknown."""

    def __init__(self, message: str, line: int | None = None, column: int | None = None) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class Fraction(float):
    """A number that is not an integer of at most 40 digits; messages show it as it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Return the nearest float, with the text."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


def shown(value: Any) -> str:
    """Return a JSON value as messages quote it, cut to a readable length."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}... ({len(text)} characters)"
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return f"'{text}'" if isinstance(value, str) else text


class Places(Record, kw_only=False):
    """The line of each member and element by pointer, and (pointer, line, first line) of repeated members."""

    lines: dict[str, int]
    duplicates: tuple[tuple[str, int, int], ...]


class JsonText:
    """A parsed document and its text; lines are found when the first one is asked for."""

    def __init__(self, document: Any, text: str) -> None:
        self.document = document
        self.text = text

    @cached_property
    def places(self) -> Places:
        """Return the places of all values."""
        return find_places(self.text)

    def line(self, pointer: str) -> int:
        """Return the line of a value, or of the nearest existing value that encloses the pointer."""
        lines = self.places.lines
        while pointer and pointer not in lines:
            pointer = pointer.rpartition("/")[0]
        return lines.get(pointer, 1)


def find_places(text: str) -> Places:
    """Return the places of all values in a text that `json` has accepted."""
    starts = [match.end() for match in re.finditer("\n", text)]
    lines: dict[str, int] = {"": 1}
    duplicates: list[tuple[str, int, int]] = []
    # One entry per open container: its pointer, the next index (-1 for an object), the pointer of the member being read.
    stack: list[tuple[str, int, str | None]] = []
    for match in re.finditer(_PIECE, text):
        word = match[0]
        if word == ":":
            continue
        if word in ("}", "]"):
            stack.pop()
            continue
        base, index, member = stack[-1] if stack else ("", 0, "")
        if word == ",":
            stack[-1] = (base, index + 1 if index >= 0 else -1, None)
            continue
        line = bisect_right(starts, match.start()) + 1
        if index < 0 and member is None:
            pointer = f"{base}/{escape(json.loads(word))}"
            if pointer in lines:
                duplicates.append((pointer, line, lines[pointer]))
            lines.setdefault(pointer, line)
            stack[-1] = (base, -1, pointer)
            continue
        pointer = member if member is not None else f"{base}/{index}"
        lines.setdefault(pointer, line)
        if word in ("{", "["):
            stack.append((pointer, -1 if word == "{" else 0, None))
    return Places(lines=lines, duplicates=tuple(duplicates))


def read_json(content: bytes | str) -> JsonText:
    """Return the document in `content`.

    Raises NotJson for invalid UTF-8, a byte order mark, syntax errors, trailing data, NaN and infinities, unpaired
    surrogates, nesting too deep to read, and a member that occurs twice in one object.
    """
    text = content if isinstance(content, str) else _decode(content)
    if text.startswith("\ufeff"):
        raise NotJson("begins with a byte order mark, expected '{'", 1)
    if not text.strip():
        raise NotJson("is empty, expected a JSON object", 1)
    has_duplicates = False

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal has_duplicates
        members = dict(pairs)
        has_duplicates = has_duplicates or len(members) != len(pairs)
        return members

    try:
        document = json.loads(
            text,
            object_pairs_hook=collect,
            parse_constant=_no_constant,
            parse_float=Fraction,
            parse_int=_integer,
        )
    except json.JSONDecodeError as err:
        message = f"not valid JSON: {err.msg[:1].lower()}{err.msg[1:]}"
        raise NotJson(message, err.lineno, err.colno) from err
    except RecursionError as err:
        message = f"nested too deeply, expected at most {_DEPTH_MAX} levels"
        raise NotJson(message, _line_of_depth(text)) from err
    except ValueError as err:
        raise NotJson(f"not valid JSON: {err}", _line_of_constant(text)) from err
    parsed = JsonText(document, text)
    if has_duplicates:
        pointer, line, first = parsed.places.duplicates[0]
        name = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        raise NotJson(f"member '{name}' occurs twice, first on line {first}", line)
    _check_surrogates(text)
    return parsed


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise NotJson(f"byte 0x{content[err.start]:02x} is not valid UTF-8", line) from err


def _check_surrogates(text: str) -> None:
    """Raise NotJson if an escape spells half of a surrogate pair: such a string has no UTF-8 form."""
    for match in re.finditer(_PIECE, text) if "\\u" in text else ():
        if match[0].startswith('"') and re.search(_SURROGATE, json.loads(match[0])):
            raise NotJson("string holds an unpaired surrogate", _line_at(text, match.start()))


def _integer(text: str) -> int | Fraction:
    return int(text) if len(text.removeprefix("-")) <= _DIGITS_MAX else Fraction(text)


def _line_of_constant(text: str) -> int | None:
    for match in re.finditer(_PIECE, text):
        if match[0] in _CONSTANTS:
            return _line_at(text, match.start())
    return None


def _line_of_depth(text: str) -> int | None:
    depth = 0
    for match in re.finditer(_PIECE, text):
        depth += (match[0] in "{[") - (match[0] in "}]")
        if depth > _DEPTH_MAX:
            return _line_at(text, match.start())
    return None


def _line_at(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
