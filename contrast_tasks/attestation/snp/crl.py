"""Revocation of intermediate certificates; chips are never listed, since a new TCB supersedes their keys.

The root signs the lists, so any source will do: the peer's document, a cache, or the vendor. Without a usable list evidence is
refused. Source: docs/internals/attestation.md 2.5 "CRL handling".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import rsa

from contrast_tasks.attestation.errors import CollateralUnavailable, MalformedEvidence, Revoked
from contrast_tasks.attestation.pki.certificate import Certificate, load_key, parse_certificate
from contrast_tasks.attestation.pki.forms import load_crl
from contrast_tasks.attestation.pki.validity import Period

CrlSource = Callable[[str, str], bytes | None]
"""Product line and kind of key (`vcek`, `vlek`) to the newest list available, DER; never fetches, never blocks."""

MAX_CRL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationList:
    """A list that the root signed: its period and the revoked serial numbers."""

    period: Period
    serials: frozenset[int]


def verify_not_revoked(
    ica: Certificate, ark: Certificate, lists: Sequence[bytes], now: datetime
) -> None:
    """Verify that one of `lists` is usable and none revokes the intermediate certificate.

    lists: DER, in any order; empty ones are ignored. A list is usable if the root signed it and `now` is in its period. An
    expired list of the root still revokes, because revocation is final.
    Raises Revoked, or CollateralUnavailable if no list is usable.
    """
    is_usable = False
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
        problem = crl.period.problem(now)
        if problem:
            troubles.append(problem)
        else:
            is_usable = True
    if not is_usable:
        found = "; ".join(troubles) or "the peer sent none and none is cached"
        raise CollateralUnavailable(
            f"collateral not available: no usable revocation list of {ark.subject_cn}: {found}",
            hint="the peer can send one in its document; without one hardware evidence is refused",
        )


def parse_list(content: bytes, ark: Certificate) -> RevocationList:
    """Return the content of a list that the root signed; its period is not checked. Raises MalformedEvidence."""
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
        raise _malformed("it has no next update")
    period = Period("the revocation list", crl.last_update_utc, next_update)
    return RevocationList(period=period, serials=serials)


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(f"a revocation list is not usable: {what}", reason="crl")
