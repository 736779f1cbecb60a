"""The ciphertexts of the transit engine: `vault:v<version>:` and base64 of nonce, AES-256-GCM ciphertext and tag.

Source: docs/internals/coordinator.md 11.
"""

import base64
import re
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from contrast_tasks.decode import DecodeError, Json
from contrast_tasks.errors import ContrastError

NONCE_BYTES = 12
MAX_VERSION = 2**32 - 1
_TAG_BYTES = 16
_FORM = re.compile(r"vault:v([0-9]{1,10}):(.*)", re.DOTALL)


class NotAuthentic(ContrastError):
    """A ciphertext is not one of this key and these associated data."""


class Sealed(NamedTuple):
    """A ciphertext, not yet authenticated; blob: nonce, ciphertext, tag, so at least 28 bytes."""

    version: int
    blob: bytes


def parse_sealed(member: Json) -> Sealed:
    """Return the ciphertext that a string of JSON holds; raises DecodeError."""
    found = _FORM.fullmatch(member.text())
    if found is None:
        raise DecodeError(f"{member.pointer}: not of the form vault:v<version>:<base64>")
    version, blob = int(found[1]), Json(found[2], member.pointer).base64()
    if version > MAX_VERSION:
        raise DecodeError(f"{member.pointer}: a version that does not fit 32 bits")
    if len(blob) < NONCE_BYTES + _TAG_BYTES:
        raise DecodeError(f"{member.pointer}: shorter than a nonce and a tag")
    return Sealed(version, blob)


def render_sealed(sealed: Sealed) -> str:
    """Return the text of a ciphertext."""
    return f"vault:v{sealed.version}:{base64.b64encode(sealed.blob).decode()}"


def seal(
    key: bytes, version: int, plaintext: bytes, associated_data: bytes, nonce: bytes
) -> Sealed:
    """Return the ciphertext under a key of 32 bytes; nonce: 12 bytes, never used with this key before."""
    return Sealed(version, nonce + AESGCM(key).encrypt(nonce, plaintext, associated_data))


def unseal(key: bytes, sealed: Sealed, associated_data: bytes) -> bytes:
    """Return the plaintext; raises NotAuthentic for another key, other associated data or a changed ciphertext."""
    nonce, rest = sealed.blob[:NONCE_BYTES], sealed.blob[NONCE_BYTES:]
    try:
        return AESGCM(key).decrypt(nonce, rest, associated_data)
    except InvalidTag as err:
        raise NotAuthentic("the ciphertext is not authentic") from err
