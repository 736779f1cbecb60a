"""All faults of a document that a user writes, each with its path, what was found and what was expected.

Documents that programs write for each other are read by `decode`, which stops at the first fault.
"""

import re
from collections.abc import Iterator
from typing import Any

from contrast_tasks.declare.shapes import Leaf, List, Map, Table
from contrast_tasks.errors import did_you_mean
from contrast_tasks.pointers import Path
from contrast_tasks.records import REQUIRED, Record

_BARE_KEY = r"[A-Za-z0-9_-]+"
_SHOWN = 8


class Problem(Record, kw_only=False):
    """One fault at `path`; `hint` may be empty."""

    path: Path
    message: str
    hint: str = ""


def shown(value: Any) -> str:
    """Return a value as messages quote it: the kind of a table, the first elements of an array."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        elements = [shown(element) for element in value[:_SHOWN]]
        return f"[{', '.join(elements)}{', ...' if len(value) > _SHOWN else ''}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f'"{_without_user(value)}"' if isinstance(value, str) else str(value)


def _without_user(text: str) -> str:
    """Return a text without user and password in the addresses that it holds."""
    return re.sub(r"://\S*@", "://...@", text)


def dotted(path: Path) -> str:
    """Return a path as TOML spells it: keys that are not bare are quoted; indices stand in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if re.fullmatch(_BARE_KEY, part) else f'."{part}"'
    return text.removeprefix(".")


def _unencodable(value: Any) -> str:
    """Name what a string, or a string of an array, holds that our files cannot; empty if there is nothing."""
    texts = value if isinstance(value, list) else [value]
    text = "".join(part for part in texts if isinstance(part, str))
    if "\0" in text:
        return "a NUL character"
    # Bytes of the command line and the environment that are not UTF-8 arrive as surrogates.
    return "bytes that are not UTF-8" if re.search("[\ud800-\udfff]", text) else ""


def problems(
    value: Any, shape: Any, path: Path = (), *, complete: bool = False
) -> Iterator[Problem]:
    """Yield every problem of a parsed document, in the order of its keys.

    complete: required members must be present, and strings may hold any characters.
    """
    if isinstance(shape, Leaf) or (isinstance(shape, List) and shape.wanted):
        yield from _of_leaf(value, shape, path, complete=complete)
    elif isinstance(shape, List):
        if not isinstance(value, list) or len(value) < shape.least:
            wanted = f"an array of at least {shape.least}" if shape.least else "an array"
            yield Problem(path, f"{dotted(path)} is {shown(value)}, expected {wanted}")
            return
        for index, element in enumerate(value):
            yield from problems(element, shape.element, (*path, index), complete=complete)
    elif not isinstance(value, dict):
        name = dotted(path) or "the document"
        yield Problem(path, f"{name} is {shown(value)}, expected a table")
    elif isinstance(shape, Map):
        for key, element in value.items():
            yield from _of_key(key, shape.key, (*path, key))
            yield from problems(element, shape.value, (*path, key), complete=complete)
    else:
        yield from _of_table(value, shape, path, complete=complete)


def _of_leaf(value: Any, shape: Leaf | List, path: Path, *, complete: bool) -> Iterator[Problem]:
    if not complete and (unencodable := _unencodable(value)):
        message = f"{dotted(path)} holds {unencodable}, expected {shape.wanted} without"
        yield Problem(path, message)
    elif not shape.accepts(value):
        reason, hint = f"is {shown(value)}, expected {shape.wanted}", ""
        if isinstance(shape, Leaf):
            near = did_you_mean(value, shape.known) if isinstance(value, str) else ""
            hint = near or shape.hint
            reason = (shape.explain(value) if shape.explain else "") or reason
        yield Problem(path, f"{dotted(path)} {reason}", hint)


def _of_key(key: str, rule: Leaf, path: Path) -> Iterator[Problem]:
    if not rule.accepts(key):
        # In a workload's key the kind may be mistyped; other keys have one part.
        kind = key.split("/")[-2:][0]
        hint = "" if kind in rule.known else did_you_mean(kind, rule.known)
        yield Problem(path, f"'{_without_user(key)}' is not {rule.wanted}", hint)


def _of_table(
    value: dict[str, Any], table: Table, path: Path, *, complete: bool
) -> Iterator[Problem]:
    for key, element in value.items():
        entry = table.keys.get(key)
        if entry is not None:
            may_be_null = entry.absent is None and isinstance(entry.shape, Table)
            if element is not None or not may_be_null:
                yield from problems(element, entry.shape, (*path, key), complete=complete)
        else:
            known = tuple(table.keys)
            place = f" in [{dotted(path)}]" if path else ""
            message = f"unknown key '{key}'{place}, expected one of {', '.join(known)}"
            yield Problem((*path, key), message, did_you_mean(key, known))
    if complete:
        for key, entry in table.keys.items():
            if key not in value and entry.absent is REQUIRED:
                yield Problem(path, f"{dotted(path) or 'the document'} has no '{key}'")
