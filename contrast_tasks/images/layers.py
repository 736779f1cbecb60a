"""Read layers: decompress them, iterate over their members, and check the content against the diff_id.

A layer is a tar archive. Members whose name starts with `.wh.` are whiteouts, which remove files of lower layers.
Source: OCI image specification 1.1, "layer".
"""

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import ArchiveError, Member, read_members
from contrast_tasks.images.compression import decompressed

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_CHUNK_BYTES = 1 << 18
# What a layer may unpack to: anything up to 1 GiB, and beyond that no more than what had to be downloaded accounts for.
_ALWAYS_BYTES = 1 << 30
_LARGEST_RATIO = 100
# Of a member's path. The kernel has the second one; tools that walk trees fail at some depth.
MAX_DEPTH = 256
_MAX_PATH_BYTES = 4096


class LayerReader(io.RawIOBase):
    """The uncompressed content of a layer, hashed and counted while it is read."""

    def __init__(self, stream: io.RawIOBase | BinaryIO, *, max_bytes: int) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def readable(self) -> bool:
        """Return True, as io requires."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # as io.BufferedReader calls it
        """Fill the start of `buffer`; return the number of bytes, 0 at the end. Raises ArchiveError."""
        chunk = self._stream.read(len(buffer)) or b""
        self._hash.update(chunk)
        self.size_bytes += len(chunk)
        if self.size_bytes > self._max_bytes:
            raise ArchiveError(f"it unpacks to more than the {self._max_bytes} bytes allowed")
        buffer[: len(chunk)] = chunk
        return len(chunk)

    @property
    def diff_id(self) -> str:
        """Return `sha256:<64 hex>` of what was read so far."""
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def open_layer(
    stream: BinaryIO, *, diff_id: str, subject: str
) -> Iterator[tuple[LayerReader, Iterator[Member]]]:
    """Yield a reader and the members of a layer; on exit, read the rest and check all of it against `diff_id`.

    A member's content must be read before the next member is taken. Raises ImageError if the archive is damaged, its
    compression is unknown, it unpacks to far more bytes than it has, or its content does not match.
    """
    stored_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    try:
        reader = LayerReader(
            decompressed(stream), max_bytes=_ALWAYS_BYTES + _LARGEST_RATIO * stored_bytes
        )
        buffered = io.BufferedReader(reader, _CHUNK_BYTES)
        yield reader, read_members(buffered)
        while buffered.read(_CHUNK_BYTES):
            pass
    except ArchiveError as err:
        raise ImageError(f"{subject}: layer is damaged: {err}") from err
    if reader.diff_id != diff_id:
        raise ImageError(
            f"{subject}: layer unpacks to {reader.diff_id}, the config wants {diff_id}"
        )


def member_path(name: str, subject: str) -> tuple[str, ...]:
    """Return a member's name as path components without `.`, () for the root.

    A leading `/` is the layer's root, as for the programs that unpack it. Raises ImageError for `..`, which they read
    in different ways, and for a path that is too long or too deep.
    """
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts or "\0" in name:
        raise ImageError(f"{subject}: layer contains a path outside of its root, {name[:200]!r}")
    if len(parts) > MAX_DEPTH or len(name) > _MAX_PATH_BYTES:
        found = f"of {len(parts)} components and {len(name)} characters, {name[:60]!r}"
        raise ImageError(f"{subject}: layer contains a path {found}...")
    return parts


def whiteout_target(parts: tuple[str, ...], subject: str) -> tuple[str, ...] | None:
    """Return the path that a whiteout removes, None for an ordinary member.

    For an opaque whiteout the last component is "": everything that lower layers have in its directory.
    """
    if not parts or not parts[-1].startswith(WHITEOUT):
        return None
    if parts[-1] == OPAQUE:
        return (*parts[:-1], "")
    name = parts[-1].removeprefix(WHITEOUT)
    if name in {"", ".", ".."}:
        raise ImageError(f"{subject}: layer contains a whiteout of {name!r}")
    return (*parts[:-1], name)
