"""The line of each key of a TOML text, and the extent of each value; tomllib gives values without places.

The text must have been accepted by tomllib: nothing is validated here.
Source: TOML 1.0.0.
"""

import re
import tomllib
from bisect import bisect_right
from typing import NamedTuple

from contrast_tasks.pointers import Path

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}'
    r"|'''(?:[^']|'{1,2}(?!'))*'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _Walk:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.extents: dict[Path, tuple[int, int]] = {}
        self.headers: dict[Path, int] = {}
        self._starts = [match.end() for match in re.finditer("\n", text)]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        if match is not None:
            self.at = match.end()

    def _mark(self, path: Path, offset: int) -> None:
        line = bisect_right(self._starts, offset) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _key(self) -> Path:
        parts: list[str | int] = []
        while True:
            self._skip(_SPACE)
            match = _KEY.match(self.text, self.at)
            if match is None:
                return tuple(parts)
            part = match[0]
            self.at = match.end()
            parts.append(_unquoted(part))
            self._skip(_SPACE)
            if self.text[self.at : self.at + 1] != ".":
                return tuple(parts)
            self.at += 1

    def _pair(self, base: Path) -> None:
        start = self.at
        path = base + self._key()
        self._mark(path, start)
        self.at = self.text.index("=", self.at) + 1
        self._skip(_SPACE)
        start = self.at
        self._value(path)
        end = start + len(self.text[start : self.at].rstrip())
        self.extents[path] = (start, end)

    def _value(self, path: Path) -> None:
        first = self.text[self.at]
        if first == "[":
            self._sequence(path, "]")
        elif first == "{":
            self._sequence(path, "}")
        else:
            self._skip(_STRING if first in "\"'" else _SCALAR)

    def _sequence(self, path: Path, end: str) -> None:
        self.at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self.text[self.at] == end:
                self.at += 1
                return
            if self.text[self.at] == ",":
                self.at += 1
            elif end == "}":
                self._pair(path)
            else:
                self._mark((*path, index), self.at)
                self._value((*path, index))
                index += 1

    def run(self) -> dict[Path, int]:
        base: Path = ()
        counts: dict[Path, int] = {}
        while True:
            self._skip(_BLANK)
            if self.at >= len(self.text):
                return self.lines
            start = self.at
            if self.text[self.at] != "[":
                self._pair(base)
                continue
            is_array = self.text.startswith("[[", self.at)
            self.at += 2 if is_array else 1
            *above, name = self._key()
            base = ()
            for part in above:
                base = (*base, part)
                if base in counts:
                    base = (*base, counts[base])
            base = (*base, name)
            if is_array:
                counts[base] = counts.get(base, -1) + 1
                base = (*base, counts[base])
            self._mark(base, start)
            self.at = self.text.index("]", self.at) + (2 if is_array else 1)
            if not is_array:
                self.headers[base] = self.at


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    if part[0] == "'" or "\\" not in part:
        return part[1:-1]
    return str(tomllib.loads(f"k={part}")["k"])


class Layout(NamedTuple):
    """Where things stand in a TOML text, as offsets: the values of keys, and what follows the header of a table."""

    extents: dict[Path, tuple[int, int]]
    headers: dict[Path, int]


def layout_of(text: str) -> Layout:
    """Return where values and headers stand in a valid TOML text."""
    walk = _Walk(text)
    walk.run()
    return Layout(walk.extents, walk.headers)


def key_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every key, table and array element of a valid TOML text."""
    return _Walk(text).run()
