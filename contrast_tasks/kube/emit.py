"""Plain values to YAML lines: block style, never folded, with all ambiguous strings quoted.

A string is written plain only if every YAML 1.1 and YAML 1.2 reader takes it for a string
(docs/internals/generate.md 11, item 12).
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from contrast_tasks.records import Record

# Texts that some reader takes for a null, boolean, number, date, merge key or value key.
_AMBIGUOUS: Final = re.compile(
    r"""(?:|~|null|y|yes|n|no|true|false|on|off|=|<<
    |[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-f_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)
    |[-+]?(?:\.[0-9_]+|[0-9][0-9_,]*(?:\.[0-9_]*)?)(?:e[-+]?[0-9]+)?
    |[-+]?\.(?:inf|nan)
    |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:t|[ \t]+).*)?
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_PLAIN: Final = re.compile(r"[A-Za-z0-9_/.][\x20-\x7e]*")
_PLAIN_IN_FLOW: Final = r"[A-Za-z0-9_/.][A-Za-z0-9_/.@+-]*"
# Not printable in YAML, or a line break in one of its versions; JSON does not escape these.
_ESCAPED: Final = "[\x7f-\xa0\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
_LITERAL_LINE: Final = r"(?:[\x21-\x7e\u00a1-\u2027\u202a-\ud7ff\ue000-\ufefe][^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff]*)?"


class BlockStyle(Record):
    """Indentation of a mapping under a key and of a sequence under a key, in columns."""

    mapping_step: int = 2
    sequence_step: int = 0


def is_ambiguous(text: str) -> bool:
    """Return whether some YAML 1.1 or 1.2 reader takes the unquoted `text` for something other than a string."""
    return _AMBIGUOUS.fullmatch(text) is not None


def scalar(value: Any) -> str:
    """Return a scalar on one line; strings are quoted if they must be."""
    if isinstance(value, str):
        return value if _is_plain(value) else quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


def quoted(text: str) -> str:
    """Return `text` in double quotes, on one line, with everything unprintable escaped."""
    return _printable(json.dumps(text, ensure_ascii=False))


def json_text(value: Any, indent: str | None, *, is_dense: bool = False) -> str:
    """Return a value as JSON, with everything escaped that YAML cannot print; is_dense: without blanks."""
    separators = (",", ":") if is_dense and indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)
    return _printable(text)


def _printable(text: str) -> str:
    if text.isascii() and "\x7f" not in text:
        return text
    return re.sub(_ESCAPED, lambda match: f"\\u{ord(match[0]):04x}", text)


def single_quoted(text: str) -> str:
    """Return `text` in single quotes, or in double quotes if single ones cannot hold it on one line."""
    if all(" " <= char <= "~" for char in text):
        return "'" + text.replace("'", "''") + "'"
    return quoted(text)


def flow(value: Any) -> str:
    """Return a value in flow style on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{flow(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    if isinstance(value, str):
        plain = re.fullmatch(_PLAIN_IN_FLOW, value) and not is_ambiguous(value)
        return value if plain else quoted(value)
    return scalar(value)


def mapping_lines(mapping: Mapping[str, Any], column: int, style: BlockStyle) -> list[str]:
    """Return the lines of a non-empty mapping whose keys start at `column`."""
    lines: list[str] = []
    for key, value in mapping.items():
        lines += entry_lines(key, value, column, style)
    return lines


def sequence_lines(items: Sequence[Any], column: int, style: BlockStyle) -> list[str]:
    """Return the lines of a non-empty sequence whose dashes are at `column`."""
    lines: list[str] = []
    for item in items:
        if isinstance(item, dict) and item:
            inner = mapping_lines(item, column + 2, style)
        elif isinstance(item, list) and item:
            inner = sequence_lines(item, column + 2, style)
        else:
            first, *rest = value_lines(item, column, style)
            inner = [" " * (column + 2) + first.lstrip(), *rest]
        lines += [" " * column + "- " + inner[0][column + 2 :], *inner[1:]]
    return lines


def entry_lines(key: str, value: Any, column: int, style: BlockStyle) -> list[str]:
    """Return the lines of one `key: value` at `column`."""
    first, *rest = value_lines(value, column, style)
    return [" " * column + scalar(key) + ":" + first, *rest]


def value_lines(value: Any, column: int, style: BlockStyle) -> list[str]:
    """Return what follows the colon of a key at `column`: the rest of its line, then the lines below it."""
    if isinstance(value, dict) and value:
        return ["", *mapping_lines(value, column + style.mapping_step, style)]
    if isinstance(value, list) and value:
        return ["", *sequence_lines(value, column + style.sequence_step, style)]
    if isinstance(value, str) and "\n" in value:
        return _literal_lines(value, column + style.mapping_step) or [" " + quoted(value)]
    if isinstance(value, dict | list):
        return [" {}" if isinstance(value, dict) else " []"]
    return [" " + scalar(value)]


def _is_plain(text: str) -> bool:
    return (
        _PLAIN.fullmatch(text) is not None
        and ": " not in text
        and " #" not in text
        and text[-1] not in " :"
        and not text.startswith(("...", "---"))
        and not is_ambiguous(text)
    )


def _literal_lines(text: str, column: int) -> list[str]:
    # A literal block can hold the text only if no line needs an indentation or chomping indicator.
    body = text.removesuffix("\n")
    lines = body.split("\n")
    if not lines[0] or not lines[-1]:
        return []
    if not re.fullmatch(_LITERAL_LINE, lines[0]):
        return []
    if not all(re.fullmatch(_LITERAL_LINE, line.lstrip(" ")) for line in lines):
        return []
    header = " |" if text.endswith("\n") else " |-"
    return [header, *(" " * column + line if line else "" for line in lines)]
