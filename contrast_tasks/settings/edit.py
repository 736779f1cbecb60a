"""Change single values in the text of contrast.toml; comments, order and everything else stay as they are."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from contrast_tasks.errors import Location, SettingsError
from contrast_tasks.settings.lines import key_lines
from contrast_tasks.settings.model import FILE_NAME

_TEXT = r"\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'"


def with_texts(text: str, table: str, values: Mapping[str, str]) -> str:
    """Return TOML in which keys of a top-level table have these strings.

    What a key has is replaced where it stands; a key that is absent becomes a line below the table's header, and a table that
    is absent comes to the end. Raises SettingsError if the text is no TOML, or has the table in a form that a line cannot be
    added to.
    """
    try:
        wanted: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        raise SettingsError(f"is not TOML: {err}", where=Location(file=FILE_NAME)) from err
    for key in reversed(list(values)):
        text = _with(text, table, key, values[key])
        wanted = {**wanted, table: {**wanted.get(table, {}), key: values[key]}}
        if not _is(text, wanted):
            lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in values.items())
            raise SettingsError(
                f"the table {table} is written in a form that cannot be edited",
                hint=f"write these lines below [{table}] yourself:\n{lines}",
                where=Location(file=FILE_NAME),
            )
    return text


def _is(text: str, wanted: Mapping[str, Any]) -> bool:
    try:
        return tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        return False


def _with(text: str, table: str, key: str, value: str) -> str:
    places = key_lines(text)
    lines = text.splitlines(keepends=True)
    written = json.dumps(value, ensure_ascii=False)
    if (line := places.get((table, key))) is not None:
        pattern = re.compile(rf"(?<![A-Za-z0-9_-])({re.escape(key)}[\"']?\s*=\s*)(?:{_TEXT})")
        lines[line - 1] = pattern.sub(lambda found: found[1] + written, lines[line - 1], count=1)
        return "".join(lines)
    added = f"{key} = {written}\n"
    header = places.get((table,))
    if header is not None and lines[header - 1].lstrip().startswith("["):
        if not lines[header - 1].endswith("\n"):
            lines[header - 1] += "\n"
        lines.insert(header, added)
        return "".join(lines)
    if text and not text.endswith("\n"):
        text += "\n"
    gap = "\n" if text.strip() else ""
    return f"{text}{gap}[{table}]\n{added}"
