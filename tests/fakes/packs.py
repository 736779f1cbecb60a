"""Packs that tests make themselves, as docs/internals/coordinator.md 8.6 has them."""

import struct
import zlib
from collections.abc import Sequence

MAGIC = b"contrast pack 1\n"


def numbers(*values: int) -> bytes:
    """Return numbers of four bytes."""
    return struct.pack(f">{len(values)}I", *values)


def pack(parts: Sequence[bytes], documents: Sequence[Sequence[int]]) -> bytes:
    """Return the stream of a pack; documents: indexes of their parts."""
    tables = [numbers(len(parts), len(documents), *map(len, parts))]
    tables += [numbers(len(indexes), *indexes) for indexes in documents]
    return zlib.compress(MAGIC + b"".join((*tables, *parts)))


def pack_of(*documents: bytes) -> bytes:
    """Return a pack in which each document is one part."""
    return pack(documents, [[index] for index in range(len(documents))])
