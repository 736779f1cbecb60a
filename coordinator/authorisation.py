"""Who may update and who may recover: the owners of keys that the manifest lists.

An owner presents the key as TLS client key, of which TLS proves possession; its digest identifies the owner. Whoever updates
may bring an owner's signature over the next transition instead, if the manifest lists full keys.
Source: docs/internals/coordinator.md 4.4, 4.5, 6.1.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from contrast_tasks.api.errors import (
    REASON_FINAL,
    REASON_NO_KEY,
    REASON_NOT_OWNER,
    REASON_SIGNATURE,
)
from contrast_tasks.manifest.signing import is_text_signed, text_to_sign
from coordinator.refusal import Refusal

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest


def key_digest_hex(public_key_spki: bytes) -> str:
    """Return the SHA-256 by which owners are found: over the PKIX DER of an EC key, the PKCS#1 DER of an RSA key.

    Raises Refusal for keys of another type.
    """
    try:
        key = load_der_public_key(public_key_spki)
    except (ValueError, UnsupportedAlgorithm) as err:
        raise Refusal(REASON_NOT_OWNER, "validating peer: unsupported key type") from err
    match key:
        case ec.EllipticCurvePublicKey():
            der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case rsa.RSAPublicKey():
            der = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        case _:
            raise Refusal(REASON_NOT_OWNER, "validating peer: unsupported key type")
    return hashlib.sha256(der).hexdigest()


def authorise_update(public_key_spki: bytes | None, in_force: "Manifest") -> None:
    """Refuse unless the caller's key is a workload owner of the manifest in force.

    public_key_spki: DER of the TLS client key, None if the caller sent no certificate.
    """
    listed = in_force.workload_owner_digests
    if not listed:
        raise Refusal(REASON_FINAL, "validating peer: setting manifest is disabled")
    _authorise(public_key_spki, listed)


def authorise_signature(
    signature: bytes, manifest: bytes, previous: bytes, owners: "Manifest"
) -> None:
    """Refuse unless the signature is an owner's over the transition from `previous` (32 bytes) to the manifest.

    owners: the manifest that lists the keys: the one in force, for the first set the new one. Digests of keys cannot verify
    a signature. Every refusal has the same text, whatever is wrong.
    """
    listed = owners.workload_owner_pub_keys or ()
    text = text_to_sign(manifest, previous)
    keys = [load_der_public_key(bytes.fromhex(key)) for key in listed]
    if not any(
        isinstance(key, ec.EllipticCurvePublicKey) and is_text_signed(key, signature, text)
        for key in keys
    ):
        raise Refusal(REASON_SIGNATURE, "validating manifest signature")


def authorise_recovery(public_key_spki: bytes | None, persisted: "Manifest") -> None:
    """Refuse unless the caller's key is a seed share owner of the manifest in the history."""
    _authorise(public_key_spki, _seedshare_digests(persisted))


def actor_of(public_key_spki: bytes | None) -> str:
    """Return the digest of a caller's key in hex, "" if there is none or it can be no owner's."""
    try:
        return "" if public_key_spki is None else key_digest_hex(public_key_spki)
    except Refusal:
        return ""


def authorise_owner(public_key_spki: bytes | None, in_force: "Manifest") -> None:
    """Refuse unless the caller's key is a seed share owner or a workload owner of the manifest in force."""
    _authorise(
        public_key_spki, (*_seedshare_digests(in_force), *(in_force.workload_owner_digests or ()))
    )


def _seedshare_digests(manifest: "Manifest") -> list[str]:
    # Hex, as a manifest with other keys is not parsed.
    listed = manifest.seedshare_owner_pub_keys or ()
    return [hashlib.sha256(bytes.fromhex(key)).hexdigest() for key in listed]


def _authorise(public_key_spki: bytes | None, listed: Sequence[str]) -> None:
    if public_key_spki is None:
        raise Refusal(REASON_NO_KEY, "validating peer: no client certificate")
    if not _is_listed(key_digest_hex(public_key_spki), listed):
        raise Refusal(REASON_NOT_OWNER, "validating peer: peer not authorized")


def _is_listed(digest_hex: str, listed: Iterable[str]) -> bool:
    matches = [hmac.compare_digest(digest_hex.encode(), entry.encode()) for entry in listed]
    return any(matches)
