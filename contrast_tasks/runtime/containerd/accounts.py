"""Users and groups of an image, read as forgivingly as containerd reads them.

Source: github.com/moby/sys/user: fields that are missing are empty or 0, and so is what is no number.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_NUMBER = re.compile(r"[+-]?[0-9]+")
_UID, _GID = 2, 3


class Account(NamedTuple):
    """A line of /etc/passwd."""

    name: str
    uid: int
    gid: int


class Group(NamedTuple):
    """A line of /etc/group."""

    name: str
    gid: int
    members: tuple[str, ...]


def accounts(passwd: str) -> list[Account]:
    """Return the accounts in the order of the file."""
    return [
        Account(fields[0], to_number(fields[_UID]), to_number(fields[_GID]))
        for fields in _lines(passwd)
    ]


def groups(group: str) -> list[Group]:
    """Return the groups in the order of the file."""
    return [
        Group(fields[0], to_number(fields[2]), tuple(fields[3].split(",")) if fields[3] else ())
        for fields in _lines(group)
    ]


def to_number(text: str) -> int:
    """Return a decimal number, 0 for any other text."""
    return int(text) if _NUMBER.fullmatch(text) else 0


def _lines(content: str) -> Iterator[list[str]]:
    """Yield at least four fields of each line that is not blank."""
    for line in content.split("\n"):
        if line.strip():
            yield [*line.strip().split(":"), "", "", ""]
