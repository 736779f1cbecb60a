"""Who may update and who may recover: the owners of keys listed in the manifest, which they present as TLS client keys.

TLS proves possession of the key; its digest identifies the owner. Source: docs/internals/coordinator.md 4.4, 6.1.
"""

import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING

import grpc
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

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
        raise _denied("validating peer: unsupported key type") from err
    match key:
        case ec.EllipticCurvePublicKey():
            der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        case rsa.RSAPublicKey():
            der = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
        case _:
            raise _denied("validating peer: unsupported key type")
    return hashlib.sha256(der).hexdigest()


def authorise_update(public_key_spki: bytes | None, in_force: "Manifest") -> None:
    """Refuse unless the caller's key is a workload owner of the manifest in force.

    public_key_spki: DER of the TLS client key, None if the caller sent no certificate.
    """
    listed = in_force.workload_owner_digests
    if not listed:
        raise _denied("validating peer: setting manifest is disabled")
    if public_key_spki is None:
        raise _denied("validating peer: no client certificate")
    if not _is_listed(key_digest_hex(public_key_spki), listed):
        raise _denied("validating peer: peer not authorized")


def authorise_recovery(public_key_spki: bytes | None, persisted: "Manifest") -> None:
    """Refuse unless the caller's key is a seed share owner of the manifest in the history."""
    listed = persisted.seedshare_owner_pub_keys or ()
    if public_key_spki is None:
        raise _denied("validating peer: no client certificate")
    # Hex, as a manifest with other keys is not parsed.
    digests = [hashlib.sha256(bytes.fromhex(key)).hexdigest() for key in listed]
    if not _is_listed(key_digest_hex(public_key_spki), digests):
        raise _denied("validating peer: peer not authorized")


def _is_listed(digest_hex: str, listed: Iterable[str]) -> bool:
    matches = [hmac.compare_digest(digest_hex.encode(), entry.encode()) for entry in listed]
    return any(matches)


def _denied(message: str) -> Refusal:
    return Refusal(grpc.StatusCode.PERMISSION_DENIED, message)
