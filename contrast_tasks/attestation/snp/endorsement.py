"""AMD's endorsement certificates: what they state about a chip, and whether they lead to the pinned root.

Source: docs/internals/attestation.md 2.5.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.certificate import (
    Certificate,
    load_key,
    parse_certificate,
    verify_is_ca,
    verify_issued_by,
    verify_valid_at,
)
from contrast_tasks.attestation.snp.tcb import Tcb

# A chip's own key, and a cloud provider's; as in the addresses of AMD's service.
KIND_VCEK, KIND_VLEK = "vcek", "vlek"

OID_PREFIX = "1.3.6.1.4.1.3704.1."
# The component whose level extension 3.N states; 4 to 7 are reserved.
LEVELS = {1: "bootloader", 2: "tee", 3: "snp", 8: "microcode", 9: "fmc"}
_OID_AUTHORITY_KEY = "2.5.29.35"
_LEVEL_SUFFIXES = tuple(f"3.{number}" for number in range(1, 10))
_KNOWN = {"1", "2", "4", "5", *_LEVEL_SUFFIXES}
_REQUIRED = ("1", "2", "3.1", "3.2", "3.3", "3.8")
LINE_TURIN = "Turin"
_HWID_BYTES, _HWID_BYTES_TURIN = 64, 8
_MAX_LEVEL = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Endorsement:
    """An endorsement certificate and the values of its extensions.

    kind: KIND_VCEK or KIND_VLEK. product: as `Milan-B0` or `Genoa`.
    hwid: 64 bytes, 8 on Turin, empty for a VLEK. csp_id: the provider, empty for a VCEK.
    """

    certificate: Certificate
    kind: str
    product: str
    tcb: Tcb
    hwid: bytes
    csp_id: str

    @property
    def line(self) -> str:
        """Return the product line, the product without its stepping."""
        return self.product.split("-", 1)[0]

    @property
    def key(self) -> ec.EllipticCurvePublicKey:
        """Return the P-384 key that signs reports."""
        key = load_key(self.certificate.spki)
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise MalformedEvidence("the endorsement key is not p-384", reason="key")
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustAnchor:
    """The pinned root of one processor line.

    root_sha256: SHA-256 of the root certificate (DER), 32 bytes.
    ark_der, ask_der, asvk_der: root, and intermediates for VCEK and VLEK. If one is empty, the peer's is used; the root must
    match the pin in any case.
    """

    line: str
    root_sha256: bytes
    ark_der: bytes = b""
    ask_der: bytes = b""
    asvk_der: bytes = b""


@lru_cache(maxsize=128)
def parse_endorsement(raw: bytes) -> Endorsement:
    """Read an endorsement certificate; raises MalformedEvidence unless it has exactly AMD's form."""
    certificate = parse_certificate(raw)
    values: dict[str, bytes] = {}
    for oid, value in certificate.extensions.items():
        suffix = oid.removeprefix(OID_PREFIX)
        if suffix in _KNOWN and suffix != oid:
            values[suffix] = value
        elif oid != _OID_AUTHORITY_KEY:
            raise _malformed(f"has the unknown extension {oid}")
    missing = [suffix for suffix in _REQUIRED if suffix not in values]
    if missing:
        raise _malformed(f"lacks the extension {OID_PREFIX}{missing[0]}")
    kind = _kind(certificate, values)
    levels = {
        number: _level(values[suffix])
        for number, suffix in enumerate(_LEVEL_SUFFIXES, start=1)
        if suffix in values
    }
    if any(level for number, level in levels.items() if number not in LEVELS):
        raise _malformed("has a reserved patch level set")
    endorsement = Endorsement(
        certificate=certificate,
        kind=kind,
        product=der.text(der.only(values["2"], der.IA5_STRING)),
        tcb=Tcb(**{name: levels.get(number, 0) for number, name in LEVELS.items()}),
        hwid=_hwid(values["4"]) if kind == KIND_VCEK else b"",
        csp_id=der.text(der.only(values["5"], der.IA5_STRING)) if kind == KIND_VLEK else "",
    )
    der.unsigned(der.only(values["1"], der.INTEGER))
    _ = endorsement.key
    return endorsement


def verify_chain(
    endorsement: Endorsement, anchor: TrustAnchor, *, ica_der: bytes, ark_der: bytes, now: datetime
) -> tuple[Certificate, Certificate]:
    """Verify that an endorsement certificate leads to the pinned root and is valid at `now`.

    ica_der, ark_der: the peer's certificates; ignored if the anchor has its own.
    Returns intermediate and root, for the revocation check. Raises EndorsementRejected or MalformedEvidence.
    """
    pinned_ica_der = anchor.ask_der if endorsement.kind == KIND_VCEK else anchor.asvk_der
    ica, ark = _verify_links(
        endorsement.certificate.raw,
        anchor.line,
        anchor.root_sha256,
        _present(pinned_ica_der or ica_der, "intermediate", anchor),
        _present(anchor.ark_der or ark_der, "root", anchor),
    )
    for certificate in (endorsement.certificate, ica, ark):
        verify_valid_at(certificate, now)
    return ica, ark


@lru_cache(maxsize=128)
def _verify_links(
    endorsement_der: bytes, line: str, root_sha256: bytes, ica_der: bytes, ark_der: bytes
) -> tuple[Certificate, Certificate]:
    """Verify what does not depend on the time; failures are not cached."""
    endorsement = parse_endorsement(endorsement_der)
    ark = parse_certificate(ark_der)
    found = hashlib.sha256(ark.raw).digest()
    if found != root_sha256:
        raise EndorsementRejected(
            f"the root certificate's sha-256 is {found.hex()}, wanted {root_sha256.hex()}",
            reason="root",
            hint="the evidence comes from another (simulated) processor than the manifest trusts",
        )
    ica = parse_certificate(ica_der)
    is_vcek = endorsement.kind == KIND_VCEK
    for certificate, wanted in (
        (ark, f"ARK-{line}"),
        (ica, f"SEV-{line}" if is_vcek else f"SEV-VLEK-{line}"),
        (endorsement.certificate, f"SEV-{endorsement.kind.upper()}"),
    ):
        if certificate.subject_cn != wanted:
            raise EndorsementRejected(
                f"a certificate is named {certificate.subject_cn}, wanted {wanted}"
            )
    size = _HWID_BYTES_TURIN if line == LINE_TURIN else _HWID_BYTES
    if is_vcek and len(endorsement.hwid) != size:
        raise EndorsementRejected(
            f"the certificate's hardware id has {len(endorsement.hwid)} bytes, {line} has {size}",
            reason="endorsement-form",
        )
    verify_issued_by(ark, ark)
    verify_issued_by(ica, ark)
    verify_issued_by(endorsement.certificate, ica)
    for certificate in (ark, ica):
        verify_is_ca(certificate)
    return ica, ark


def _present(certificate_der: bytes, what: str, anchor: TrustAnchor) -> bytes:
    if not certificate_der:
        raise EndorsementRejected(
            f"no {what} certificate of {anchor.line} is available", reason="chain-incomplete"
        )
    return certificate_der


def _kind(certificate: Certificate, values: dict[str, bytes]) -> str:
    if certificate.subject_cn == "SEV-VCEK":
        if "5" in values or "4" not in values:
            raise _malformed("is a vcek and must have a hardware id and no provider id")
        return KIND_VCEK
    if certificate.subject_cn == "SEV-VLEK":
        if "4" in values or "5" not in values:
            raise _malformed("is a vlek and must have a provider id and no hardware id")
        return KIND_VLEK
    raise _malformed(f"is named {certificate.subject_cn}, wanted SEV-VCEK or SEV-VLEK")


def _level(value: bytes) -> int:
    level = der.unsigned(der.only(value, der.INTEGER))
    if level > _MAX_LEVEL:
        raise _malformed(f"has the patch level {level}, wanted at most {_MAX_LEVEL}")
    return level


def _hwid(value: bytes) -> bytes:
    sizes = {_HWID_BYTES, _HWID_BYTES_TURIN}
    if len(value) in sizes:
        return value
    # A few certificates wrap the bytes in an OCTET STRING.
    if len(value) - 2 in sizes:
        return der.only(value, der.OCTET_STRING).content
    raise _malformed(f"has a hardware id of {len(value)} bytes, wanted 64 or 8")


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(f"the endorsement certificate {what}", reason="endorsement-form")
