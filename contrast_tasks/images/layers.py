"""Read layers: decompress them, iterate over their members, and check the content against the diff_id.

A layer is a tar archive. Members whose name starts with `.wh.` are whiteouts, which remove files of lower layers.
Source: OCI image specification 1.1, "layer".
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from contrast_tasks.errors import ImageError

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CHUNK_BYTES = 1 << 16


class LayerReader(io.RawIOBase):
    """The uncompressed content of a layer, hashed and counted while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    def readable(self) -> bool:
        """Return True, as io requires."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, b"" at the end."""
        chunk = self._stream.read(size)
        self._hash.update(chunk)
        self.size_bytes += len(chunk)
        return chunk

    def finish(self) -> str:
        """Read the rest and return the diff_id, `sha256:<64 hex>` of the whole content."""
        while self.read(_CHUNK_BYTES):
            pass
        return f"sha256:{self._hash.hexdigest()}"


@contextmanager
def open_layer(
    stream: BinaryIO, *, diff_id: str, subject: str
) -> Iterator[tuple[LayerReader, Iterator[tuple[tarfile.TarFile, tarfile.TarInfo]]]]:
    """Yield a reader and the members of a layer, each with the archive; on exit, check the content against `diff_id`.

    A member's content must be extracted before the next member is taken. Raises ImageError if the archive is damaged,
    its compression is unknown or its content does not match.
    """
    try:
        reader = LayerReader(_decompressed(stream, subject))
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            yield reader, ((archive, member) for member in archive)
        found = reader.finish()
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, UnicodeError) as err:
        raise ImageError(f"{subject}: layer is damaged: {err}") from err
    if found != diff_id:
        raise ImageError(f"{subject}: layer unpacks to {found}, the config wants {diff_id}")


def _decompressed(stream: BinaryIO, subject: str) -> BinaryIO:
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=stream, mode="rb")  # type: ignore[return-value]  # has the methods used here
    if start == _ZSTD_MAGIC:
        hint = "push the image with layers that are compressed with gzip"
        raise ImageError(f"{subject}: layer is compressed with zstd, wanted gzip or tar", hint=hint)
    return stream


def member_path(name: str, subject: str) -> tuple[str, ...]:
    """Return a member's name as path components without `.`, () for the root.

    Raises ImageError for an absolute name or `..`.
    """
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise ImageError(f"{subject}: layer contains a path outside of its root, {name!r}")
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
