"""The ID block with a constant signature: it pins measurement, policy and ids without any private key.

The signature is always (r, s) = (2, 1). The public key for which it verifies follows from the block, and the report carries
that key's digest. Firmware refuses to launch a guest that does not match its block. Nothing here is secret.
Source: docs/internals/attestation.md 2.7.
"""

import hashlib
import struct
from functools import cache, lru_cache

from contrast_tasks.attestation.snp.p384 import ORDER, Point, add, multiplied, negated, point_at

FAMILY_ID = (1).to_bytes(16, "little")
IMAGE_ID = (2).to_bytes(16, "little")
GUEST_SVN = 2
_VERSION = 1
_CURVE_P384 = 2
_R, _S = 2, 1
_SIGNATURE_BYTES = 0x200
_KEY_BYTES = 0x404
_COORDINATE_BYTES = 72
_AUTH_BYTES = 0x1000
_ALGORITHM_P384_SHA384 = 1


def id_block(measurement: bytes, policy: int) -> bytes:
    """Return the signed 96 bytes for a launch digest of 48 bytes and a 64-bit guest policy."""
    return struct.pack(
        "<48s16s16sIIQ", measurement, FAMILY_ID, IMAGE_ID, _VERSION, GUEST_SVN, policy
    )


def id_auth(block: bytes) -> bytes:
    """Return the 4096 bytes that authenticate an ID block: the algorithm, the signature and its key, without an author."""
    head = struct.pack("<I60x", _ALGORITHM_P384_SHA384)
    signature = _coordinates(_R, _S).ljust(_SIGNATURE_BYTES, b"\0")
    return (head + signature + _key_structure(recover_key(block))).ljust(_AUTH_BYTES, b"\0")


@lru_cache(maxsize=256)
def id_key_digest(measurement: bytes, policy: int) -> bytes:
    """Return ID_KEY_DIGEST, 48 bytes, of a guest launched with this measurement and policy."""
    return hashlib.sha384(_key_structure(recover_key(id_block(measurement, policy)))).digest()


def _key_structure(key: Point) -> bytes:
    content = struct.pack("<I", _CURVE_P384) + _coordinates(*key)
    return content.ljust(_KEY_BYTES, b"\0")


def _coordinates(*values: int) -> bytes:
    return b"".join(value.to_bytes(_COORDINATE_BYTES, "little") for value in values)


@lru_cache(maxsize=256)
def recover_key(block: bytes) -> Point:
    """Return the public key (x, y) for which the constant signature over `block` verifies.

    There are two candidates Q = r^-1 (s R - z G), one for each point R with x = r; the smaller (x, y) is used.
    """
    z = int.from_bytes(hashlib.sha384(block).digest(), "big")
    minus = negated(multiplied(z * pow(_R, -1, ORDER) % ORDER))
    scaled = _scaled_signature_point()
    return min(add(scaled, minus), add(negated(scaled), minus))


@cache
def _scaled_signature_point() -> Point:
    """Return r^-1 s R, where R is a point with x = r."""
    return multiplied(_S * pow(_R, -1, ORDER) % ORDER, point_at(_R))
