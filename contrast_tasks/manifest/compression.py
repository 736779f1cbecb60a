"""gzip as policies travel: the same bytes for the same content, and reading that no content can make expensive.

Source: docs/internals/releases.md 1.1, 1.3.
"""

import zlib
from functools import lru_cache
from typing import Any

# No name, no time, no extra flags, and an unknown system, as the reference product writes it.
_HEADER = bytes.fromhex("1f8b08000000000000ff")
MAGIC = _HEADER[:2]
# The smallest result; the rules, which are most of a policy, are compressed once.
_LEVEL = 9
_RAW = -zlib.MAX_WBITS
_WITH_HEADER = zlib.MAX_WBITS + 16
# The policies of a project begin with the same rules. Content is always compressed in these two parts, whoever came before.
_HEAD_BYTES = 20 * 1024


def compress(content: bytes) -> bytes:
    """Return one gzip member; equal content gives equal bytes wherever zlib is the same, see `implementation`."""
    begun, head = _begun(content[:_HEAD_BYTES])
    rest = begun.copy()
    checks = zlib.crc32(content).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return b"".join((_HEADER, head, rest.compress(content[_HEAD_BYTES:]), rest.flush(), checks))


@lru_cache(maxsize=4)
def _begun(head: bytes) -> tuple[Any, bytes]:
    """Return a compressor that has read `head`, to be copied, and what it wrote so far."""
    begun = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    return begun, begun.compress(head)


def implementation() -> str:
    """Return the version of zlib at hand; another one may find other, equally right bytes."""
    return zlib.ZLIB_RUNTIME_VERSION


def decompress(content: bytes, limit: int) -> bytes:
    """Return what a single gzip member holds, at most `limit` bytes.

    Raises ValueError with the fault: not gzip, damaged, cut off, too large, or followed by something.
    """
    stream = zlib.decompressobj(wbits=_WITH_HEADER)
    try:
        found = stream.decompress(content, limit + 1)
    except zlib.error as err:
        # zlib's words: `Error -3 while decompressing data: incorrect data check`.
        reason = str(err).rpartition(": ")[2]
        raise ValueError(f"found damaged gzip ({reason}), expected one whole member") from err
    if len(found) > limit:
        raise ValueError(f"found more than {limit} bytes in gzip, expected at most that many")
    if not stream.eof:
        raise ValueError("found gzip that is cut off, expected one whole member")
    if stream.unused_data:
        raise ValueError(
            f"found {len(stream.unused_data)} bytes after the end of gzip, expected one member and nothing else"
        )
    return found
