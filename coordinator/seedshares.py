"""The seed encrypted for each seed share owner, so that a restarted Coordinator can be recovered.

Every owner gets the complete seed; the name "share" is historical. Source: docs/internals/coordinator.md 5.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from contrast_tasks.errors import UsageError
from contrast_tasks.manifest.keys import SEEDSHARE_BITS_MIN, SEEDSHARE_LABEL


class BadOwnerKey(UsageError):
    """A seed share owner key in the manifest is not the hex of a usable PKCS#1 RSA public key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncryptedShare:
    """The seed encrypted for one key: the key as in the manifest (PKCS#1 DER in hex), the RSAES-OAEP ciphertext."""

    public_key_hex: str
    ciphertext: bytes


def encrypt_seed(seed: bytes, owner_keys_hex: Sequence[str]) -> tuple[EncryptedShare, ...]:
    """Return one share per owner, in the given order; raises BadOwnerKey naming the position of a bad key."""
    oaep = padding.OAEP(
        mgf=padding.MGF1(hashes.SHA256()), algorithm=hashes.SHA256(), label=SEEDSHARE_LABEL
    )
    return tuple(
        EncryptedShare(
            public_key_hex=key_hex, ciphertext=_owner_key(key_hex, position).encrypt(seed, oaep)
        )
        for position, key_hex in enumerate(owner_keys_hex)
    )


def _owner_key(key_hex: str, position: int) -> rsa.RSAPublicKey:
    place = f"seedshare owner key {position}"
    try:
        # OpenSSL reads a bare PKCS#1 RSAPublicKey as well as SubjectPublicKeyInfo.
        key = load_der_public_key(bytes.fromhex(key_hex))
    except (ValueError, UnsupportedAlgorithm) as err:
        raise BadOwnerKey(f"{place} is not the hex of a pkcs#1 public key") from err
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadOwnerKey(f"{place} is not an rsa key")
    if key.key_size < SEEDSHARE_BITS_MIN:
        raise BadOwnerKey(f"{place} has {key.key_size} bits, wanted at least {SEEDSHARE_BITS_MIN}")
    return key
