"""Strict JSON: what Go's or Python's reader would let pass, this one refuses, and it knows where each value stands.

Source: RFC 8259; docs/internals/manifest.md 2.1 (what the reference product lets pass), 2.2 (M001).
"""

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.pointers import escape

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+')
_CONSTANTS = ("NaN", "Infinity", "-Infinity")
# Python reads an integer of up to 4300 digits; beyond 64 bits no field takes one.
_DIGITS_MAX = 40
_DEPTH_MAX = 100
_SHOWN = 40
_SURROGATE = re.compile("[\ud800-\udfff]")


class NotJson(Exception):  # never leaves this package
    """The content is not strict JSON; carries the finding that says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class Fraction(float):
    """A number that is no integer, or a longer one than anybody reads; it is shown as it was written."""

    text: str

    def __new__(cls, text: str) -> Self:
        """Keep the text beside the nearest float."""
        number = super().__new__(cls, text)
        number.text = text
        return number

    def __str__(self) -> str:
        return self.text


def shown(value: Any) -> str:
    """Return how a JSON value is quoted in a message, cut to a readable length."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The lines, from 1, of all members and elements by pointer, and the pointers that occur twice."""

    lines: dict[str, int]
    duplicates: tuple[tuple[str, int, int], ...]


class JsonText:
    """A parsed document together with its text; line numbers are computed when first asked for."""

    def __init__(self, *, document: Any, text: str, file: str) -> None:
        self.document = document
        self.text = text
        self.file = file

    @cached_property
    def places(self) -> Places:
        """Return where everything stands."""
        return scan(self.text)

    def line(self, pointer: str) -> int:
        """Return the line of a value, or of the nearest value around it that exists."""
        lines = self.places.lines
        while pointer and pointer not in lines:
            pointer = pointer.rpartition("/")[0]
        return lines.get(pointer, 1)


def scan(text: str) -> Places:
    """Return the places in a text that is known to be valid JSON; nothing is validated here."""
    starts = [match.end() for match in re.finditer("\n", text)]
    lines: dict[str, int] = {"": 1}
    duplicates: list[tuple[str, int, int]] = []
    # One entry per open container: its pointer, the next index or -1 for an object, the member being read.
    stack: list[tuple[str, int, str | None]] = []
    for match in _TOKEN.finditer(text):
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


def read_json(content: bytes, file: str) -> JsonText:
    """Return the document in `content`.

    Raises NotJson (M001) for invalid UTF-8, a byte order mark, syntax errors, trailing data, NaN and infinities,
    unpaired surrogates, nesting too deep to read, and a member that occurs twice in one object.
    """
    text = _decode(content, file)
    if not text.strip():
        raise _refused("is empty, expected a JSON object", file, 1)
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
        raise _refused(message, file, err.lineno, err.colno) from err
    except RecursionError as err:
        message = f"nested too deeply, expected at most {_DEPTH_MAX} levels"
        raise _refused(message, file, _line_of_depth(text)) from err
    except ValueError as err:
        raise _refused(f"not valid JSON: {err}", file, _line_of_constant(text)) from err
    parsed = JsonText(document=document, text=text, file=file)
    if has_duplicates:
        pointer, line, first = parsed.places.duplicates[0]
        name = pointer.rpartition("/")[2].replace("~1", "/").replace("~0", "~")
        raise _refused(f"member '{name}' occurs twice, first on line {first}", file, line)
    _check_surrogates(text, file)
    return parsed


def _refused(
    message: str, file: str, line: int | None = None, column: int | None = None
) -> NotJson:
    return NotJson(
        Finding(catalogue.NOT_JSON, Location(file=file, line=line, column=column), message)
    )


def _decode(content: bytes, file: str) -> str:
    try:
        text = content.decode()
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        message = f"byte 0x{content[err.start]:02x} is not valid UTF-8"
        raise _refused(message, file, line) from err
    if text.startswith("\ufeff"):
        raise _refused("begins with a byte order mark, expected '{'", file, 1)
    return text


def _check_surrogates(text: str, file: str) -> None:
    """Raise NotJson if an escape makes half a character: such a string has no UTF-8 form."""
    for match in _TOKEN.finditer(text) if "\\u" in text else ():
        if match[0].startswith('"') and _SURROGATE.search(json.loads(match[0])):
            line = text.count("\n", 0, match.start()) + 1
            raise _refused("string holds an unpaired surrogate", file, line)


def _integer(text: str) -> int | Fraction:
    return int(text) if len(text) <= _DIGITS_MAX else Fraction(text)


def _line_of_constant(text: str) -> int | None:
    for match in _TOKEN.finditer(text):
        if match[0] in _CONSTANTS:
            return text.count("\n", 0, match.start()) + 1
    return None


def _line_of_depth(text: str) -> int | None:
    depth = 0
    for match in _TOKEN.finditer(text):
        depth += (match[0] in "{[") - (match[0] in "}]")
        if depth > _DEPTH_MAX:
            return text.count("\n", 0, match.start()) + 1
    return None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
