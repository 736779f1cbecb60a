"""The ID block with a constant signature: it pins measurement, policy and ids without any private key.

The signature is always (r, s) = (2, 1). The public key for which it verifies follows from the block, and the report carries
that key's digest. Firmware refuses to launch a guest that does not match its block. Source: docs/internals/attestation.md 2.7.
"""

import hashlib
import struct
from functools import cache, lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.attestation.snp.report import P384_ORDER

FAMILY_ID = (1).to_bytes(16, "little")
IMAGE_ID = (2).to_bytes(16, "little")
_NO_ID = bytes(16)
GUEST_SVN = 2
_VERSION = 1
_CURVE_P384 = 2
_R, _S = 2, 1
_KEY_BYTES = 0x404
_COORDINATE_BYTES = 72

# FIPS 186-5, curve P-384
_P = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF
_A = -3
_B = 0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF

_Point = tuple[int, int]


def id_block(
    measurement: bytes, policy: int, *, family_id: bytes = FAMILY_ID, image_id: bytes = IMAGE_ID
) -> bytes:
    """Return the signed 96 bytes for a launch digest of 48 bytes and a 64-bit guest policy."""
    return struct.pack(
        "<48s16s16sIIQ", measurement, family_id, image_id, _VERSION, GUEST_SVN, policy
    )


@lru_cache(maxsize=256)
def id_key_digest(measurement: bytes, policy: int) -> bytes:
    """Return ID_KEY_DIGEST, 48 bytes, of a guest launched with this measurement and policy."""
    return _digest(recover_key(id_block(measurement, policy)))


@lru_cache(maxsize=256)
def accepted_id_key_digests(measurement: bytes, policy: int) -> tuple[bytes, bytes]:
    """Return the two values of ID_KEY_DIGEST that pin this measurement and policy.

    Launchers set family and image id of the block to 1 and 2 (docs/internals/attestation.md 2.7), or to zero
    (docs/internals/manifest.md 7). These ids mean nothing for trust; either key pins measurement, policy and guest SVN.
    """
    unlabelled = id_block(measurement, policy, family_id=_NO_ID, image_id=_NO_ID)
    return id_key_digest(measurement, policy), _digest(recover_key(unlabelled))


def _digest(point: _Point) -> bytes:
    key = struct.pack("<I", _CURVE_P384) + b"".join(
        value.to_bytes(_COORDINATE_BYTES, "little") for value in point
    )
    return hashlib.sha384(key.ljust(_KEY_BYTES, b"\0")).digest()


def recover_key(block: bytes) -> _Point:
    """Return the public key (x, y) for which the constant signature over `block` verifies.

    There are two candidates Q = r^-1 (s R - z G), one for each point R with x = r; the smaller (x, y) is used.
    """
    z = int.from_bytes(hashlib.sha384(block).digest(), "big")
    half_z = z * pow(_R, -1, P384_ORDER) % P384_ORDER
    # The library multiplies the base point in 0.1 ms, Python code in 20 ms.
    numbers = ec.derive_private_key(half_z, ec.SECP384R1()).public_key().public_numbers()
    minus = (numbers.x, -numbers.y % _P)
    x, y = _scaled_signature_point()
    return min(_add((x, y), minus), _add((x, -y % _P), minus))


@cache
def _scaled_signature_point() -> _Point:
    """Return r^-1 s R, where R is a point with x = r."""
    y = pow(_R**3 + _A * _R + _B, (_P + 1) // 4, _P)
    scalar = _S * pow(_R, -1, P384_ORDER) % P384_ORDER
    total: _Point | None = None
    addend = (_R, y)
    while scalar:
        if scalar & 1:
            total = addend if total is None else _add(total, addend)
        addend = _add(addend, addend)
        scalar >>= 1
    if total is None:
        raise ArithmeticError("a scalar of the group's order")
    return total


def _add(left: _Point, right: _Point) -> _Point:
    """Return the sum of two points; they must not be inverse to each other (probability 2^-384 for hashed inputs)."""
    (x1, y1), (x2, y2) = left, right
    if left == right:
        slope = (3 * x1 * x1 + _A) * pow(2 * y1, -1, _P)
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, _P)
    x = (slope * slope - x1 - x2) % _P
    return x, (slope * (x1 - x) - y1) % _P
