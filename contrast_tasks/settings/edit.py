"""Change the text of contrast.toml; comments, order and everything else stay as they are."""

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from contrast_tasks.declare.problems import dotted
from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.settings.lines import layout_of
from contrast_tasks.settings.model import FILE_NAME

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class Change(NamedTuple):
    """A key of contrast.toml by its tables, and what it becomes; {} is a table without keys. why: a line of comment, "" for none."""

    path: tuple[str, ...]
    value: Any
    why: str = ""


def with_texts(text: str, table: str, values: Mapping[str, str]) -> str:
    """Return TOML in which keys of a top-level table have these strings; see `with_changes`."""
    return with_changes(text, [Change((table, key), values[key]) for key in reversed(list(values))])


def with_changes(text: str, changes: Sequence[Change]) -> str:
    """Return TOML with changes made, one after the other.

    What a key has is replaced where it stands, but for lists, which get what they lack; a key that is absent becomes a line below
    the table's header, and a table that is absent comes to the end. What is there already is not written again.
    Raises SettingsError if the text is no TOML, or has a table in a form that a line cannot be added to.
    """
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(f"is not TOML: {err}", where=Location(file=FILE_NAME)) from err
    newline = "\r\n" if "\r\n" in text else "\n"
    text = text.replace("\r\n", "\n")
    for change in changes:
        whole = change._replace(value=_together(_at(document, change.path), change.value))
        wanted = _put(document, whole.path, whole.value)
        if wanted != document:
            written = next((each for each in _forms(text, whole) if _is(each, wanted)), None)
            if written is None:
                raise SettingsError(
                    f"the table {dotted(change.path[:-1])} is written in a form that cannot be edited",
                    hint=f"write these lines yourself:\n{tables_text(changes)}".rstrip(),
                    where=Location(file=FILE_NAME),
                )
            text, document = written, wanted
    return text.replace("\n", newline)


def tables_text(changes: Iterable[Change]) -> str:
    """Return changes as TOML of their own, a table after the other, in the order of the first key of each."""
    tables: dict[tuple[str, ...], list[Change]] = {}
    for change in changes:
        is_table = isinstance(change.value, dict)
        tables.setdefault(change.path if is_table else change.path[:-1], []).append(change)
    return "\n".join(
        "".join([*_header(table), *(line for each in inside for line in _lines(each))])
        for table, inside in tables.items()
    )


def _header(table: tuple[str, ...]) -> Iterator[str]:
    if table:
        yield f"[{'.'.join(map(_key, table))}]\n"


def _lines(change: Change) -> Iterator[str]:
    if change.why:
        yield f"# {change.why}\n"
    if not isinstance(change.value, dict):
        yield f"{_key(change.path[-1])} = {_value(change.value)}\n"


def _forms(text: str, change: Change) -> Iterator[str]:
    """Yield the text with a change in each form that the table may have; the right one reads as it should."""
    layout = layout_of(text)
    table, added = change.path[:-1], "".join(_lines(change))
    if (extent := layout.extents.get(change.path)) is not None:
        yield f"{text[: extent[0]]}{_value(change.value)}{text[extent[1] :]}"
        return
    if (place := layout.headers.get(table)) is not None and not isinstance(change.value, dict):
        end = text.find("\n", place)
        head, rest = (text, "") if end < 0 else (text[:end], text[end + 1 :])
        yield f"{head}\n{added}{rest}"
        return
    dots = [end for path, (_, end) in layout.extents.items() if path[:-1] == table]
    for place in dots[-1:]:
        end = text.find("\n", place)
        name = ".".join(map(_key, change.path))
        why = f"# {change.why}\n" if change.why else ""
        head, rest = (text, "") if end < 0 else (text[:end], text[end + 1 :])
        yield f"{head}\n{why}{name} = {_value(change.value)}\n{rest}"
    gap = "\n" if text.strip() else ""
    yield f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{gap}{tables_text([change])}"


def _together(found: Any, value: Any) -> Any:
    if isinstance(found, list) and isinstance(value, list):
        return [*found, *(each for each in value if each not in found)]
    return found if isinstance(found, dict) and value == {} else value


def _at(document: Any, path: Sequence[str]) -> Any:
    for step in path:
        document = document.get(step) if isinstance(document, dict) else None
    return document


def _put(document: Mapping[str, Any], path: Sequence[str], value: Any) -> dict[str, Any]:
    first, *rest = path
    inner = document.get(first)
    return {
        **document,
        first: _put(inner if isinstance(inner, dict) else {}, rest, value) if rest else value,
    }


def _is(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    # JSON's texts, numbers, booleans and lists of them are TOML's too.
    return json.dumps(value, ensure_ascii=False)
