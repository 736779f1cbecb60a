"""Intel's collateral: TCB info, QE identity and two revocation lists, verified as one bundle at one instant.

The signatures cover the exact characters of the inner JSON objects, so the text is kept as received and never written
again. Nothing here fetches: bytes come from a cache or a file.

Source: Intel PCS API v4; bundle members as in docs/internals/attestation.md 3.4.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from contrast_tasks.attestation.errors import CollateralRejected, MalformedEvidence
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.forms import PARSE_ERRORS, load_crl
from contrast_tasks.attestation.tdx.pck import (
    PckChain,
    common_name,
    p256_key,
    require_valid_at,
    verified_ca,
    verified_signer,
)
from contrast_tasks.attestation.tdx.tcb import (
    QeIdentity,
    TcbInfo,
    load_json,
    parse_qe_identity,
    parse_tcb_info,
)

_SIGNATURE = re.compile(r"[0-9a-fA-F]{128}")
_ECDSA_SHA256 = x509.SignatureAlgorithmOID.ECDSA_WITH_SHA256
MAXIMUM_BUNDLE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Collateral:
    """A bundle as received: chains in PEM, CRLs in DER, inner JSON objects as text, signatures 64 bytes r||s."""

    pck_crl_issuer_chain: bytes
    root_ca_crl: bytes
    pck_crl: bytes
    tcb_info_issuer_chain: bytes
    tcb_info: str
    tcb_info_signature: bytes
    qe_identity_issuer_chain: bytes
    qe_identity: str
    qe_identity_signature: bytes

    def to_json(self) -> dict[str, str]:
        """Return the bundle's JSON members: PEM and inner JSON as text, the rest as hex."""
        return {
            "pck_crl_issuer_chain": self.pck_crl_issuer_chain.decode(),
            "root_ca_crl": self.root_ca_crl.hex(),
            "pck_crl": self.pck_crl.hex(),
            "tcb_info_issuer_chain": self.tcb_info_issuer_chain.decode(),
            "tcb_info": self.tcb_info,
            "tcb_info_signature": self.tcb_info_signature.hex(),
            "qe_identity_issuer_chain": self.qe_identity_issuer_chain.decode(),
            "qe_identity": self.qe_identity,
            "qe_identity_signature": self.qe_identity_signature.hex(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCollateral:
    """What remains after every signature, date and revocation of a bundle was checked."""

    tcb_info: TcbInfo
    qe_identity: QeIdentity

    @property
    def evaluation_number(self) -> int:
        """Return the tcbEvaluationDataNumber that all of it has at least."""
        return min(self.tcb_info.evaluation_number, self.qe_identity.evaluation_number)


def parse_collateral(content: bytes) -> Collateral:
    """Read a bundle; at most 4 MiB. Raises CollateralRejected naming the member that is missing or malformed."""
    if len(content) > MAXIMUM_BUNDLE_BYTES:
        raise CollateralRejected(
            f"collateral has {len(content)} bytes, at most {MAXIMUM_BUNDLE_BYTES}"
        )
    document = load_json(content, "collateral")
    if not isinstance(document, Mapping):
        raise CollateralRejected("collateral is not a JSON object")
    texts: dict[str, str] = {}
    for name in Collateral.__dataclass_fields__:
        value = document.get(name) or ""
        if not isinstance(value, str):
            raise CollateralRejected(f"collateral: {name} is not text")
        # Hosts hand out C strings; no signature covers the NUL at their end.
        texts[name] = value.rstrip("\0")
        if not texts[name]:
            raise CollateralRejected(f"collateral lacks {name}")
        if not _is_text(value):
            raise CollateralRejected(f"collateral: {name} holds half of a surrogate pair")
    return Collateral(
        pck_crl_issuer_chain=texts["pck_crl_issuer_chain"].encode(),
        root_ca_crl=_hexed(texts, "root_ca_crl"),
        pck_crl=_hexed(texts, "pck_crl"),
        tcb_info_issuer_chain=texts["tcb_info_issuer_chain"].encode(),
        tcb_info=texts["tcb_info"],
        tcb_info_signature=_signature(texts, "tcb_info_signature"),
        qe_identity_issuer_chain=texts["qe_identity_issuer_chain"].encode(),
        qe_identity=texts["qe_identity"],
        qe_identity_signature=_signature(texts, "qe_identity_signature"),
    )


def _is_text(value: str) -> bool:
    """Return whether a string has bytes in UTF-8; JSON can spell some that have not."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _hexed(texts: Mapping[str, str], name: str) -> bytes:
    try:
        return bytes.fromhex(texts[name])
    except ValueError as err:
        raise CollateralRejected(f"collateral: {name} is not hex") from err


def _signature(texts: Mapping[str, str], name: str) -> bytes:
    if not _SIGNATURE.fullmatch(texts[name]):
        raise CollateralRejected(f"collateral: {name} is not 64 bytes of hex")
    return bytes.fromhex(texts[name])


def verify_collateral(
    collateral: Collateral, *, chain: PckChain, root_spki: bytes, now: datetime
) -> VerifiedCollateral:
    """Verify a bundle and that it speaks of this PCK chain's platform and does not revoke it.

    chain: the verified PCK chain of the quote; root_spki: the pinned root key; now: UTC.
    """
    try:
        return _verify(collateral, chain, root_spki, now)
    except MalformedEvidence as err:
        raise CollateralRejected(f"collateral: {err}") from err


def _verify(
    collateral: Collateral, chain: PckChain, root_spki: bytes, now: datetime
) -> VerifiedCollateral:
    signed = _signed_parts(collateral, root_spki)
    for certificate, what in (
        (signed.tcb_signer, "TCB info signer"),
        (signed.qe_signer, "QE identity signer"),
        (signed.authority, "PCK CRL issuer"),
    ):
        require_valid_at(certificate, what, now)
        _require_unrevoked(certificate, signed.root_crl, what)
    for root in {*signed.roots, chain.root}:
        require_valid_at(root, "Intel root", now)
        _require_unrevoked(root, signed.root_crl, "Intel root")
    _require_current_crl(signed.root_crl, "root CRL", now)
    _require_current_crl(signed.pck_crl, "PCK CRL", now)
    _require_current(signed.tcb_info.issue_date, signed.tcb_info.next_update, "TCB info", now)
    _require_current(
        signed.qe_identity.issue_date, signed.qe_identity.next_update, "QE identity", now
    )
    if common_name(signed.authority) != common_name(chain.intermediate):
        raise CollateralRejected(
            f"PCK CRL is from {common_name(signed.authority)!r}, the PCK certificate from "
            f"{common_name(chain.intermediate)!r}"
        )
    if signed.authority.public_key() != chain.intermediate.public_key():
        raise CollateralRejected(
            f"PCK CRL and PCK certificate are from two keys named {common_name(signed.authority)!r}"
        )
    _require_unrevoked(chain.intermediate, signed.root_crl, "PCK intermediate")
    _require_unrevoked(chain.leaf, signed.pck_crl, "PCK certificate")
    for name, found, wanted in (
        ("FMSPC", signed.tcb_info.fmspc, chain.facts.fmspc),
        ("PCE-ID", signed.tcb_info.pce_id, chain.facts.pce_id),
    ):
        if found != wanted:
            raise CollateralRejected(
                f"TCB info is for {name} {found.hex()}, the platform has {wanted.hex()}"
            )
    return VerifiedCollateral(tcb_info=signed.tcb_info, qe_identity=signed.qe_identity)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedParts:
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    root_crl: x509.CertificateRevocationList
    pck_crl: x509.CertificateRevocationList
    tcb_signer: x509.Certificate
    qe_signer: x509.Certificate
    authority: x509.Certificate
    roots: frozenset[x509.Certificate]


@lru_cache(maxsize=32)
def _signed_parts(collateral: Collateral, root_spki: bytes) -> _SignedParts:
    """Check every signature of a bundle, once per bundle; what depends on the clock is checked by the caller."""
    tcb_signer, root = verified_signer(collateral.tcb_info_issuer_chain, root_spki)
    qe_signer, qe_root = verified_signer(collateral.qe_identity_issuer_chain, root_spki)
    authority, crl_root = verified_ca(collateral.pck_crl_issuer_chain, root_spki)
    _require_signature(tcb_signer, collateral.tcb_info, collateral.tcb_info_signature, "TCB info")
    _require_signature(
        qe_signer, collateral.qe_identity, collateral.qe_identity_signature, "QE identity"
    )
    return _SignedParts(
        tcb_info=parse_tcb_info(collateral.tcb_info),
        qe_identity=parse_qe_identity(collateral.qe_identity),
        root_crl=_verified_crl(collateral.root_ca_crl, root, "root CRL"),
        pck_crl=_verified_crl(collateral.pck_crl, authority, "PCK CRL"),
        tcb_signer=tcb_signer,
        qe_signer=qe_signer,
        authority=authority,
        roots=frozenset({root, qe_root, crl_root}),
    )


def verified_tcb_info(chain: bytes, text: str, signature: bytes, root_spki: bytes) -> TcbInfo:
    """Return TCB info whose signer's chain (PEM) leads to the pinned root, whatever the time."""
    signer, _ = verified_signer(chain, root_spki)
    _require_signature(signer, text, signature, "TCB info")
    return parse_tcb_info(text)


def verified_qe_identity(chain: bytes, text: str, signature: bytes, root_spki: bytes) -> QeIdentity:
    """Return the QE identity whose signer's chain (PEM) leads to the pinned root, whatever the time."""
    signer, _ = verified_signer(chain, root_spki)
    _require_signature(signer, text, signature, "QE identity")
    return parse_qe_identity(text)


def verified_pck_crl(
    chain: bytes, der: bytes, root_spki: bytes
) -> tuple[x509.CertificateRevocationList, x509.Certificate]:
    """Return a PCK revocation list and its issuer, whose chain (PEM) leads to the pinned root, whatever the time."""
    authority, _ = verified_ca(chain, root_spki)
    return _verified_crl(der, authority, "PCK CRL"), authority


def verified_root_crl(der: bytes, root_spki: bytes) -> x509.CertificateRevocationList:
    """Return the list that the pinned root key signed, whatever the time."""
    crl, key = load_crl(der, "root CRL"), load_der_public_key(root_spki)
    try:
        genuine = isinstance(key, ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except PARSE_ERRORS as err:
        raise CollateralRejected("root CRL does not parse") from err
    if not genuine:
        raise CollateralRejected("root CRL is not signed by the pinned root")
    return crl


def _require_signature(signer: x509.Certificate, text: str, signature: bytes, what: str) -> None:
    half = len(signature) // 2
    encoded = encode_dss_signature(
        int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    )
    try:
        p256_key(signer, f"{what} signer").verify(encoded, text.encode(), ec.ECDSA(SHA256()))
    except InvalidSignature as err:
        raise CollateralRejected(
            f"{what}: the signature does not verify over the text as received"
        ) from err


def _verified_crl(
    content: bytes, issuer: x509.Certificate, what: str
) -> x509.CertificateRevocationList:
    crl = load_crl(content, what)
    # The library's own check writes the whole list again; these are the bytes that were signed.
    signed, _, signature = der.elements(der.only(content, der.SEQUENCE).content)
    key = p256_key(issuer, f"{what} issuer")
    refusal = CollateralRejected(f"{what} is not signed by {common_name(issuer)!r}")
    uses = [one.value for one in issuer.extensions if isinstance(one.value, x509.KeyUsage)]
    if not all(use.crl_sign for use in uses):
        raise CollateralRejected(f"{common_name(issuer)!r} may not sign revocation lists")
    if crl.issuer != issuer.subject or crl.signature_algorithm_oid != _ECDSA_SHA256:
        raise refusal
    try:
        key.verify(der.bits(signature), signed.encoded, ec.ECDSA(SHA256()))
    except InvalidSignature as err:
        raise refusal from err
    return crl


def _require_current_crl(crl: x509.CertificateRevocationList, what: str, now: datetime) -> None:
    if crl.next_update_utc is None:
        raise CollateralRejected(f"{what} has no next update")
    _require_current(crl.last_update_utc, crl.next_update_utc, what, now)


def _require_current(since: datetime, until: datetime, what: str, now: datetime) -> None:
    if now < since:
        raise CollateralRejected(
            f"{what} is from {since:%Y-%m-%dT%H:%M:%SZ}, now is {now:%Y-%m-%dT%H:%M:%SZ}",
            reason="collateral-not-yet-valid",
        )
    if now > until:
        raise CollateralRejected(
            f"{what} expired at {until:%Y-%m-%dT%H:%M:%SZ}, now is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="fetch the collateral again",
            reason="collateral-expired",
        )


def _require_unrevoked(
    certificate: x509.Certificate, crl: x509.CertificateRevocationList, what: str
) -> None:
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise CollateralRejected(
            f"{what} with serial {certificate.serial_number:x} is revoked", reason="revoked"
        )
