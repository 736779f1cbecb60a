"""Who may update and who may recover: the owners of keys that the manifest lists.

An owner presents the key as TLS client key, of which TLS proves possession; its digest identifies the owner. Whoever updates
may bring owners' signatures over the next transition too, if the manifest lists full keys. A manifest may demand that several
owners approve.
Source: docs/internals/coordinator.md 4.4, 4.5, 6.1.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from contrast_tasks.api.errors import (
    REASON_APPROVALS,
    REASON_FINAL,
    REASON_NO_KEY,
    REASON_NOT_OWNER,
    REASON_SIGNATURE,
)
from contrast_tasks.manifest.owners import owner_digest_hex
from contrast_tasks.manifest.signing import is_text_signed, text_to_sign
from coordinator.refusal import Refusal, listing

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

_NOT_AUTHORISED = "validating peer: peer not authorized"


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


class Approvals(NamedTuple):
    """Who approves an update: digests of owners' keys, in hex and sorted. wanted: how many have to.

    missing: the other owners of the manifest in force.
    """

    given: tuple[str, ...]
    missing: tuple[str, ...]
    wanted: int


def approvals_of(
    public_key_spki: bytes | None, signers: frozenset[str], in_force: "Manifest"
) -> Approvals:
    """Return who approves: those who signed, and the owner of the caller's key. signers: the result of `signers_of`."""
    owners = in_force.workload_owner_digests
    actor = actor_of(public_key_spki)
    given = set(signers) | ({actor} if _is_listed(actor, owners) else set())
    missing = tuple(owner for owner in owners if owner not in given)
    return Approvals(tuple(sorted(given)), missing, in_force.workload_owner_approvals)


def authorise_update(
    public_key_spki: bytes | None, in_force: "Manifest", signers: frozenset[str] = frozenset()
) -> Approvals:
    """Return who approves; refuse unless enough workload owners of the manifest in force do.

    public_key_spki: DER of the TLS client key, None if the caller sent no certificate. signers: the result of `signers_of`.
    Any update needs as many as the manifest in force demands, so nobody else can lower that number or change the owners.
    """
    listed = in_force.workload_owner_digests
    if not listed:
        raise Refusal(REASON_FINAL, "validating peer: setting manifest is disabled")
    found = approvals_of(public_key_spki, signers, in_force)
    if found.wanted == 1 and not signers:
        _authorise(public_key_spki, listed)
    if len(found.given) < found.wanted:
        raise Refusal(
            REASON_APPROVALS,
            _NOT_AUTHORISED,
            found={
                "found": str(len(found.given)),
                "wanted": str(found.wanted),
                "missing": listing(found.missing),
            },
        )
    return found


def signers_of(
    signatures: Sequence[bytes], manifest: bytes, previous: bytes, owners: "Manifest"
) -> frozenset[str]:
    """Return the digests of the owners who signed the transition from `previous` (32 bytes) to the manifest.

    owners: the manifest that lists the keys: the one in force, for the first set the new one. Digests of keys cannot verify
    a signature. Refuses, always with the same text, if any signature is not an owner's, or if there are more than keys.
    """
    listed = owners.workload_owner_pub_keys or ()
    text = text_to_sign(manifest, previous)
    keys = {owner_digest_hex(key): load_der_public_key(bytes.fromhex(key)) for key in listed}
    found = set()
    # One refusal costs as many verifications as there are keys; only owners can make it cost more.
    for signature in signatures if len(signatures) <= max(1, len(keys)) else [b""]:
        signer = next((name for name, key in keys.items() if _signed(key, signature, text)), None)
        if signer is None:
            raise Refusal(REASON_SIGNATURE, "validating manifest signature")
        found.add(signer)
    return frozenset(found)


def _signed(key: object, signature: bytes, text: bytes) -> bool:
    return isinstance(key, ec.EllipticCurvePublicKey) and is_text_signed(key, signature, text)


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
        raise Refusal(REASON_NOT_OWNER, _NOT_AUTHORISED)


def _is_listed(digest_hex: str, listed: Iterable[str]) -> bool:
    matches = [hmac.compare_digest(digest_hex.encode(), entry.encode()) for entry in listed]
    return any(matches)
