"""Files of the host that a shim copies into its guest, without their content."""

import stat
from collections.abc import Mapping
from typing import Final, NamedTuple

from contrast_tasks.records import Record


class Entry(NamedTuple):
    """A file, folder or symbolic link.

    path: below the root of its tree, "" for the root. mode: type and permissions, as in `st_mode`. size: in bytes.
    """

    path: str
    mode: int
    size: int = 0
    target: str | None = None
    uid: int = 0
    gid: int = 0


Tree = tuple[Entry, ...]
"""A root and all below it, each folder before its entries, which are in the order of their names."""

FILE: Final = stat.S_IFREG | 0o644
FOLDER: Final = stat.S_IFDIR | 0o755
LINK: Final = stat.S_IFLNK | 0o777


class HostFiles(Record):
    """What the shim finds on its host, by absolute path.

    trees: files and folders that containers mount. in_memory: folders that are a tmpfs. groups: of folders that belong to
    another group than root's.
    """

    trees: Mapping[str, Tree]
    in_memory: frozenset[str] = frozenset()
    groups: Mapping[str, int] = {}


def one_file(size: int, mode: int = FILE) -> Tree:
    """Return the tree of a single file."""
    return (Entry("", mode, size),)


def one_folder(mode: int = FOLDER, gid: int = 0) -> Tree:
    """Return the tree of an empty folder."""
    return (Entry("", mode, gid=gid),)


def in_order(entries: Mapping[str, Entry]) -> Tree:
    """Return the entries by path as a tree: below each folder in the order of names."""
    return tuple(entries[path] for path in sorted(entries, key=lambda each: each.split("/")))
