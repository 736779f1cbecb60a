"""Decompress layers as streams: gzip, zstd, or none; and wrap layers in gzip for readers that want it.

Both engines keep bounded memory: gzip 32 KiB of what came before, zstd at most 128 MiB (its library's own limit).
"""

import io
import struct
import sys
import zlib
from typing import BinaryIO

from contrast_tasks.images.archives import ArchiveError

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
# A frame for other readers, before, between or after the others. Source: RFC 8878, 3.1.2.
_SKIPPABLE = (range(0x50, 0x60), b"\x2a\x4d\x18")
_CHUNK_BYTES = 1 << 16
_WITH_GZIP_HEADER = 31  # as zlib's `wbits`
# No name, no time, no hint at the compressor, no system.
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_MOST_STORED = 0xFFFF  # bytes of one block


def decompressed(stream: BinaryIO) -> io.RawIOBase | BinaryIO:
    """Return the content of a layer as a stream that can be read once, by its first bytes; `stream` stays open."""
    start = stream.read(4)
    stream.seek(0)
    if start.startswith(_GZIP_MAGIC):
        return _Inflated(stream)
    if start == _ZSTD_MAGIC or (
        start[:1] and start[0] in _SKIPPABLE[0] and start[1:] == _SKIPPABLE[1]
    ):
        return _Zstd(stream)
    return stream


def stored_in_gzip(content: bytes) -> bytes:
    """Return content as one gzip member that compresses nothing, for readers that take no other form.

    What a compressor writes differs between machines, and blocks that are only stored do not. Source: RFC 1951, 3.2.4;
    RFC 1952, 2.3.
    """
    pieces = [_GZIP_HEADER]
    for start in range(0, max(len(content), 1), _MOST_STORED):
        piece = content[start : start + _MOST_STORED]
        is_last = start + _MOST_STORED >= len(content)
        size = len(piece)
        pieces += [struct.pack("<?HH", is_last, size, size ^ 0xFFFF), piece]
    pieces.append(struct.pack("<II", zlib.crc32(content), len(content) & 0xFFFFFFFF))
    return b"".join(pieces)


class _Inflated(io.RawIOBase):
    """The content of gzip members one after the other; zeros may follow the last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._waiting = b""
        self._engine = zlib.decompressobj(_WITH_GZIP_HEADER)

    def readable(self) -> bool:
        """Return True, as io requires."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # as io.BufferedReader calls it
        """Fill the start of `buffer`; return the number of bytes, 0 at the end. Raises ArchiveError."""
        try:
            chunk = self._next(len(buffer))
        except (zlib.error, EOFError) as err:
            raise ArchiveError(f"gzip: {err}") from err
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def _next(self, most: int) -> bytes:
        while True:
            if self._engine.eof:
                if not self._begin_next():
                    return b""
            elif not self._waiting:
                self._waiting = self._stream.read(_CHUNK_BYTES)
                if not self._waiting:
                    raise EOFError("it is cut off")
            chunk = self._engine.decompress(self._waiting, most)
            is_over = self._engine.eof
            self._waiting = self._engine.unused_data if is_over else self._engine.unconsumed_tail
            if chunk:
                return chunk

    def _begin_next(self) -> bool:
        """Return whether another member follows; the engine is its own then."""
        self._waiting = self._waiting.lstrip(b"\0")
        while not self._waiting:
            chunk = self._stream.read(_CHUNK_BYTES)
            if not chunk:
                return False
            self._waiting = chunk.lstrip(b"\0")
        self._engine = zlib.decompressobj(_WITH_GZIP_HEADER)
        return True


class _Zstd(io.RawIOBase):
    """The content of zstd frames one after the other."""

    def __init__(self, stream: BinaryIO) -> None:
        # Few images have such layers, and no other part of the tool needs the library.
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._error = zstd.ZstdError
        self._file = zstd.ZstdFile(stream, "rb")

    def readable(self) -> bool:
        """Return True, as io requires."""
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]  # as io.BufferedReader calls it
        """Fill the start of `buffer`; return the number of bytes, 0 at the end. Raises ArchiveError."""
        try:
            return self._file.readinto(buffer)
        except (self._error, EOFError) as err:
            raise ArchiveError(f"zstd: {err}") from err
