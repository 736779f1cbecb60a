"""The root hash of dm-verity over a file that is given piece by piece.

SHA-256 with a salt of 32 zero bytes, data and hash blocks of 4,096 bytes, hash format 1, no header. Only one hash block of
each level is in memory. Source: docs/internals/aks.md 2.5; Linux, "dm-verity".
"""

import hashlib

BLOCK_BYTES = 4096
_DIGEST_BYTES = 32
_SALTED = hashlib.sha256(bytes(32))


class VerityTree:
    """The tree of hashes; levels: the unfinished hash block of each, leaves first."""

    def __init__(self) -> None:
        self._rest = b""
        self._levels: list[bytearray] = [bytearray()]

    def update(self, piece: bytes) -> None:
        """Take the next bytes."""
        if self._rest:
            missing = BLOCK_BYTES - len(self._rest)
            self._rest += piece[:missing]
            if len(self._rest) < BLOCK_BYTES:
                return
            self._add(_digests(memoryview(self._rest)), 0)
            piece = piece[missing:]
        whole = len(piece) // BLOCK_BYTES * BLOCK_BYTES
        self._add(_digests(memoryview(piece)[:whole]), 0)
        self._rest = piece[whole:]

    def finish(self) -> str:
        """Return the root hash, 64 hex digits. The bytes must be whole blocks, at least one."""
        level = 0
        while True:
            block = self._levels[level]
            if level and level + 1 == len(self._levels) and len(block) == _DIGEST_BYTES:
                return block.hex()
            if block:
                block += bytes(BLOCK_BYTES - len(block))
                self._add(b"", level)
            level += 1

    def _add(self, digests: bytes, level: int) -> None:
        """Add digests to a level, and the digests of the hash blocks that they fill to the level above."""
        if level == len(self._levels):
            self._levels.append(bytearray())
        block = self._levels[level]
        block += digests
        whole = len(block) // BLOCK_BYTES * BLOCK_BYTES
        if whole:
            filled = bytes(block[:whole])
            del block[:whole]
            self._add(_digests(memoryview(filled)), level + 1)


def _digests(blocks: memoryview) -> bytes:
    """Return the digests of whole blocks, 32 bytes each."""
    found = []
    for start in range(0, len(blocks), BLOCK_BYTES):
        state = _SALTED.copy()
        state.update(blocks[start : start + BLOCK_BYTES])
        found.append(state.digest())
    return b"".join(found)
