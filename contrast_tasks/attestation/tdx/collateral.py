"""Intel's collateral: TCB info, QE identity and two revocation lists, verified together for one time.

The signatures cover the exact characters of the inner JSON objects, so their text is kept as received. Nothing here fetches:
the bytes come from a cache or a file.

Source: Intel PCS API v4; bundle members as in docs/internals/attestation.md 3.4.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from contrast_tasks.attestation.errors import CollateralRejected, MalformedEvidence
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.forms import PARSE_ERRORS, load_crl
from contrast_tasks.attestation.pki.validity import Period, require_current, require_valid
from contrast_tasks.attestation.tdx.pck import (
    PckChain,
    common_name,
    has_signed,
    is_signature_of,
    p256_key,
    verified_ca,
    verified_signer,
)
from contrast_tasks.attestation.tdx.tcb import (
    QE_IDENTITY,
    TCB_INFO,
    QeIdentity,
    TcbInfo,
    parse_qe_identity,
    parse_tcb_info,
)
from contrast_tasks.decode import DecodeError, Json, parse_json

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

        def text(name: str) -> str:
            value: str | bytes = getattr(self, name)
            if isinstance(value, str):
                return value
            return value.decode() if name.endswith("_issuer_chain") else value.hex()

        return {name: text(name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedCollateral:
    """The content of a bundle whose signatures, dates and revocations were checked."""

    tcb_info: TcbInfo
    qe_identity: QeIdentity

    @property
    def evaluation_number(self) -> int:
        """Return the lower of the two tcbEvaluationDataNumber."""
        return min(self.tcb_info.evaluation_number, self.qe_identity.evaluation_number)


def parse_collateral(content: bytes) -> Collateral:
    """Read a bundle; at most 4 MiB. Raises CollateralRejected naming the member that is missing or malformed."""
    if len(content) > MAXIMUM_BUNDLE_BYTES:
        raise CollateralRejected(
            f"collateral has {len(content)} bytes, at most {MAXIMUM_BUNDLE_BYTES}"
        )
    try:
        document = parse_json(content)
        texts = {name: _text(document.at(name)) for name in Collateral.__dataclass_fields__}
    except DecodeError as err:
        raise CollateralRejected(f"collateral: {err}") from err
    return Collateral(**{name: _from_text(name, text) for name, text in texts.items()})


def _text(place: Json) -> str:
    # Hosts send C strings; no signature covers the NUL at their end.
    text = place.text().rstrip("\0")
    if not text:
        raise DecodeError(f"{place.pointer}: empty")
    return text


def _from_text(name: str, text: str) -> Any:
    if name.endswith("_issuer_chain"):
        return text.encode()
    if name.endswith("_signature") and not _SIGNATURE.fullmatch(text):
        raise CollateralRejected(f"collateral: {name} is not 64 bytes of hex")
    if name.endswith(("_signature", "_crl")):
        try:
            return bytes.fromhex(text)
        except ValueError as err:
            raise CollateralRejected(f"collateral: {name} is not hex") from err
    return text


def verify_collateral(
    collateral: Collateral, *, chain: PckChain, root_spki: bytes, now: datetime
) -> VerifiedCollateral:
    """Verify a bundle, that it is for the platform of a PCK chain, and that it does not revoke the chain.

    chain: the verified PCK chain of the quote; root_spki: the pinned root key; now: UTC.
    Raises CollateralRejected or EndorsementRejected.
    """
    try:
        return _verify(collateral, chain, root_spki, now)
    except MalformedEvidence as err:
        raise CollateralRejected(f"collateral: {err}") from err


def _verify(
    collateral: Collateral, chain: PckChain, root_spki: bytes, now: datetime
) -> VerifiedCollateral:
    signed = _signed_parts(collateral, root_spki)
    for validity in signed.validities:
        require_valid(validity, now)
    for period in signed.periods:
        require_current(period, now)
    _require_unrevoked(chain.root, signed.root_crl, "Intel root")
    if signed.authority != chain.intermediate:
        _require_same_authority(signed.authority, chain.intermediate)
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


def _require_same_authority(issuer: x509.Certificate, intermediate: x509.Certificate) -> None:
    """Verify that two certificates belong to one authority, which may have several for its key."""
    name, wanted = common_name(issuer), common_name(intermediate)
    if name != wanted:
        raise CollateralRejected(f"PCK CRL is from {name!r}, the PCK certificate from {wanted!r}")
    if issuer.public_key() != intermediate.public_key():
        raise CollateralRejected(f"PCK CRL and PCK certificate are from two keys named {name!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedParts:
    tcb_info: TcbInfo
    qe_identity: QeIdentity
    root_crl: x509.CertificateRevocationList
    pck_crl: x509.CertificateRevocationList
    authority: x509.Certificate
    validities: tuple[Period, ...]
    periods: tuple[Period, ...]


@lru_cache(maxsize=32)
def _signed_parts(collateral: Collateral, root_spki: bytes) -> _SignedParts:
    """Verify what does not depend on time or platform, once per bundle."""
    tcb_signer, root = _verified_text(
        collateral.tcb_info_issuer_chain,
        collateral.tcb_info,
        collateral.tcb_info_signature,
        root_spki,
        TCB_INFO,
    )
    qe_signer, qe_root = _verified_text(
        collateral.qe_identity_issuer_chain,
        collateral.qe_identity,
        collateral.qe_identity_signature,
        root_spki,
        QE_IDENTITY,
    )
    authority, crl_root = verified_ca(collateral.pck_crl_issuer_chain, root_spki)
    tcb_info = parse_tcb_info(collateral.tcb_info)
    qe_identity = parse_qe_identity(collateral.qe_identity)
    root_crl = _verified_crl(collateral.root_ca_crl, root, "root CRL")
    pck_crl = _verified_crl(collateral.pck_crl, authority, "PCK CRL")
    certificates = (
        (tcb_signer, "TCB info signer"),
        (qe_signer, "QE identity signer"),
        (authority, "PCK CRL issuer"),
        *((certificate, "Intel root") for certificate in {root, qe_root, crl_root}),
    )
    for certificate, what in certificates:
        _require_unrevoked(certificate, root_crl, what)
    return _SignedParts(
        tcb_info=tcb_info,
        qe_identity=qe_identity,
        root_crl=root_crl,
        pck_crl=pck_crl,
        authority=authority,
        validities=tuple(
            Period.of_certificate(certificate, what) for certificate, what in certificates
        ),
        periods=(
            Period.of_crl(root_crl, "root CRL"),
            Period.of_crl(pck_crl, "PCK CRL"),
            tcb_info.period,
            qe_identity.period,
        ),
    )


def verified_tcb_info(chain: bytes, text: str, signature: bytes, root_spki: bytes) -> TcbInfo:
    """Return TCB info whose signer's chain (PEM) leads to the pinned root; no period is checked."""
    _verified_text(chain, text, signature, root_spki, TCB_INFO)
    return parse_tcb_info(text)


def verified_qe_identity(chain: bytes, text: str, signature: bytes, root_spki: bytes) -> QeIdentity:
    """Return the QE identity whose signer's chain (PEM) leads to the pinned root; no period is checked."""
    _verified_text(chain, text, signature, root_spki, QE_IDENTITY)
    return parse_qe_identity(text)


def verified_pck_crl(
    chain: bytes, der: bytes, root_spki: bytes
) -> tuple[x509.CertificateRevocationList, x509.Certificate]:
    """Return a PCK revocation list and its issuer, whose chain (PEM) leads to the pinned root; no period is checked."""
    authority, _ = verified_ca(chain, root_spki)
    return _verified_crl(der, authority, "PCK CRL"), authority


def verified_root_crl(der: bytes, root_spki: bytes) -> x509.CertificateRevocationList:
    """Return a revocation list that the pinned root key signed; its period is not checked."""
    crl, key = load_crl(der, "root CRL"), load_der_public_key(root_spki)
    try:
        genuine = isinstance(key, ec.EllipticCurvePublicKey) and crl.is_signature_valid(key)
    except PARSE_ERRORS as err:
        raise CollateralRejected("root CRL does not parse") from err
    if not genuine:
        raise CollateralRejected("root CRL is not signed by the pinned root")
    return crl


def _verified_text(
    chain: bytes, text: str, signature: bytes, root_spki: bytes, what: str
) -> tuple[x509.Certificate, x509.Certificate]:
    """Verify the signature over the exact characters of a JSON text; return signer and root."""
    signer, root = verified_signer(chain, root_spki)
    if not has_signed(p256_key(signer, f"{what} signer"), signature, text.encode()):
        raise CollateralRejected(f"{what}: the signature does not verify over the text as received")
    return signer, root


def _verified_crl(
    content: bytes, issuer: x509.Certificate, what: str
) -> x509.CertificateRevocationList:
    crl, name = load_crl(content, what), common_name(issuer)
    for extension in issuer.extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.crl_sign:
            raise CollateralRejected(f"{name!r} may not sign revocation lists")
    # The library's own check encodes the whole list again; these are the signed bytes.
    signed, _, signature = der.elements(der.only(content, der.SEQUENCE).content)
    is_signed = (
        crl.issuer == issuer.subject
        and crl.signature_algorithm_oid == _ECDSA_SHA256
        and is_signature_of(p256_key(issuer, f"{what} issuer"), der.bits(signature), signed.encoded)
    )
    if not is_signed:
        raise CollateralRejected(f"{what} is not signed by {name!r}")
    return crl


def _require_unrevoked(
    certificate: x509.Certificate, crl: x509.CertificateRevocationList, what: str
) -> None:
    if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
        raise CollateralRejected(
            f"{what} with serial {certificate.serial_number:x} is revoked", reason="revoked"
        )
