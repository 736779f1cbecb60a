"""Revocation of intermediate certificates; individual chips are never listed, a new TCB supersedes their keys.

Lists are signed by the root, so it does not matter who delivers them: the peer in its document, a cache, or the vendor.
Without a usable list evidence is refused. Source: docs/internals/attestation.md 2.5 "CRL handling".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import rsa

from contrast_tasks.attestation.errors import CollateralUnavailable, MalformedEvidence, Revoked
from contrast_tasks.attestation.pki.certificate import Certificate, load_key, parse_certificate
from contrast_tasks.attestation.pki.forms import load_crl

CrlSource = Callable[[str, str], bytes | None]
"""Product line and kind of key (`vcek`, `vlek`) to the newest list at hand, DER; never fetches, never blocks."""

MAX_CRL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A list that the root signed: its period, and the serial numbers it revokes."""

    this_update: datetime
    next_update: datetime
    serials: frozenset[int]


def verify_not_revoked(
    ica: Certificate, ark: Certificate, lists: Sequence[bytes], now: datetime
) -> None:
    """Verify that the newest usable list of `lists` does not name the intermediate certificate.

    lists: DER, in any order, empty ones are ignored. A list is usable if the root signed it and `now` is in its period; a list
    of the root that names the certificate counts even when it has expired, for revocation is final.
    Raises Revoked, or CollateralUnavailable if none is usable.
    """
    usable: list[RevocationList] = []
    troubles: list[str] = []
    for content in filter(None, lists):
        try:
            crl = _parse(content, ark.raw)
        except MalformedEvidence as err:
            troubles.append(str(err))
            continue
        if ica.serial in crl.serials:
            raise Revoked(
                f"certificate {ica.subject_cn} with serial number {ica.serial:#x} is revoked",
                hint="the processor line's keys are compromised; do not trust evidence of this root",
            )
        if crl.this_update <= now <= crl.next_update:
            usable.append(crl)
        else:
            troubles.append(
                f"the list is for {crl.this_update:%Y-%m-%dT%H:%M:%SZ} to {crl.next_update:%Y-%m-%dT%H:%M:%SZ}, "
                f"but it is {now:%Y-%m-%dT%H:%M:%SZ}"
            )
    if not usable:
        found = "; ".join(troubles) or "none was delivered and none is cached"
        raise CollateralUnavailable(
            f"collateral not available: no usable revocation list of {ark.subject_cn}: {found}",
            hint="the peer can deliver one in its document; without one evidence of hardware is refused",
        )


def parse_list(content: bytes, ark: Certificate) -> RevocationList:
    """Return what a list says, whatever the time; raises MalformedEvidence unless the root signed it."""
    return _parse(content, ark.raw)


@lru_cache(maxsize=32)
def _parse(content: bytes, ark_raw: bytes) -> RevocationList:
    ark = parse_certificate(ark_raw)
    if len(content) > MAX_CRL_BYTES:
        raise _malformed(f"it has {len(content)} bytes, wanted at most {MAX_CRL_BYTES}")
    try:
        crl = load_crl(content, "it")
        next_update = crl.next_update_utc
        issuer = crl.issuer.public_bytes()
        key = load_key(ark.spki)
        signed = isinstance(key, rsa.RSAPublicKey) and crl.is_signature_valid(key)
        serials = frozenset(entry.serial_number for entry in crl)
    except MalformedEvidence as err:
        raise _malformed(str(err)) from err
    except (ValueError, TypeError) as err:
        raise _malformed("it is not a der revocation list") from err
    if issuer != ark.subject:
        raise _malformed("it is another issuer's")
    if not signed:
        raise _malformed(f"it is not signed by {ark.subject_cn}")
    if next_update is None:
        raise _malformed("it says nothing of its end")
    return RevocationList(this_update=crl.last_update_utc, next_update=next_update, serials=serials)


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(f"a revocation list is not usable: {what}", reason="crl")
