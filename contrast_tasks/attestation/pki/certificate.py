"""An X.509 certificate of AMD's endorsement chain; serial number 0, which AMD's endorsement keys have, is accepted.

Everything that matters for trust is checked here and in `snp.endorsement`.
Source: RFC 5280; docs/internals/attestation.md 2.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import load_der_public_key

from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.pki.validity import Period, require_valid

MAX_CERTIFICATE_BYTES = 8192

_OID_PSS = "1.2.840.113549.1.1.10"
_OID_MGF1 = "1.2.840.113549.1.1.8"
_OID_SHA384 = "2.16.840.1.101.3.4.2.2"
_OID_COMMON_NAME = "2.5.4.3"
_OID_BASIC_CONSTRAINTS = "2.5.29.19"
_SALT_BYTES = 48
_VERSION_3 = 2  # counted from zero
_TAG_VERSION, _TAG_EXTENSIONS = 0xA0, 0xA3
_PSS = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=_SALT_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A parsed certificate; names are DER, for comparison, and common names text, for rules and messages.

    tbs: the signed bytes. signature: RSASSA-PSS with SHA-384, MGF1-SHA-384 and salt 48, as `parse_certificate` checks.
    extensions: dotted OID to the content of the OCTET STRING.
    """

    raw: bytes
    tbs: bytes
    signature: bytes
    serial: int
    issuer: bytes
    issuer_cn: str
    subject: bytes
    subject_cn: str
    not_before: datetime
    not_after: datetime
    spki: bytes
    extensions: Mapping[str, bytes]


@lru_cache(maxsize=128)
def parse_certificate(raw: bytes) -> Certificate:
    """Read a version 3 certificate with an RSASSA-PSS signature; raises MalformedEvidence."""
    if len(raw) > MAX_CERTIFICATE_BYTES:
        raise MalformedEvidence(
            f"the certificate has {len(raw)} bytes, wanted at most {MAX_CERTIFICATE_BYTES}",
            reason="certificate-form",
        )
    tbs, algorithm, signature = _items(der.only(raw, der.SEQUENCE).content, 3)
    version, serial, inner, issuer, validity, subject, spki, extensions = _items(
        der.expect(tbs, der.SEQUENCE).content, 8
    )
    if (
        version.tag != _TAG_VERSION
        or der.unsigned(der.only(version.content, der.INTEGER)) != _VERSION_3
    ):
        raise MalformedEvidence("the certificate is not of version 3", reason="certificate-form")
    if inner.encoded != algorithm.encoded:
        raise MalformedEvidence(
            "the certificate names two signature algorithms", reason="certificate-form"
        )
    _verify_algorithm(algorithm)
    not_before, not_after = _items(der.expect(validity, der.SEQUENCE).content, 2)
    return Certificate(
        raw=raw,
        tbs=tbs.encoded,
        signature=der.bits(signature),
        serial=der.unsigned(serial),
        issuer=issuer.encoded,
        issuer_cn=_common_name(issuer),
        subject=subject.encoded,
        subject_cn=_common_name(subject),
        not_before=der.instant(not_before),
        not_after=der.instant(not_after),
        spki=der.expect(spki, der.SEQUENCE).encoded,
        extensions=_extensions(extensions),
    )


def verify_issued_by(child: Certificate, parent: Certificate) -> None:
    """Verify names and signature of one link; raises EndorsementRejected."""
    if child.issuer != parent.subject:
        raise EndorsementRejected(
            f"certificate {child.subject_cn} is issued by {child.issuer_cn}, wanted {parent.subject_cn}",
            reason="chain",
        )
    _verify_signature(child.raw, parent.raw)  # cached: it does not depend on the time


def verify_valid_at(certificate: Certificate, now: datetime) -> None:
    """Verify that a certificate is valid at `now`; raises EndorsementRejected."""
    what = f"certificate {certificate.subject_cn}"
    require_valid(Period(what, certificate.not_before, certificate.not_after), now)


def verify_is_ca(certificate: Certificate) -> None:
    """Verify that the certificate may issue others; raises EndorsementRejected."""
    constraints = certificate.extensions.get(_OID_BASIC_CONSTRAINTS, der.encode(der.SEQUENCE))
    members = list(der.elements(der.only(constraints, der.SEQUENCE).content))
    if not members or not der.boolean(members[0]):
        raise EndorsementRejected(f"certificate {certificate.subject_cn} is not a ca")


@lru_cache(maxsize=128)
def load_key(spki: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    """Return the public key, which must be P-384 or RSA of at least 2048 bits; raises MalformedEvidence."""
    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise MalformedEvidence("the certificate's key cannot be read", reason="key") from err
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP384R1):
        return key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:  # noqa: PLR2004
        return key
    raise MalformedEvidence("the certificate's key is neither p-384 nor rsa", reason="key")


@lru_cache(maxsize=128)
def _verify_signature(child_raw: bytes, parent_raw: bytes) -> None:
    child, parent = parse_certificate(child_raw), parse_certificate(parent_raw)
    key = load_key(parent.spki)
    if not isinstance(key, rsa.RSAPublicKey):
        raise EndorsementRejected(f"certificate {parent.subject_cn} has no rsa key")
    try:
        key.verify(child.signature, child.tbs, _PSS, SHA384())
    except InvalidSignature as err:
        raise EndorsementRejected(
            f"certificate {child.subject_cn} is not signed by {parent.subject_cn}",
            reason="signature",
        ) from err


def _items(content: bytes, count: int) -> list[der.Element]:
    items = list(der.elements(content))
    if len(items) != count:
        raise MalformedEvidence(
            f"the certificate has a sequence of {len(items)} members, wanted {count}",
            reason="certificate-form",
        )
    return items


def _verify_algorithm(algorithm: der.Element) -> None:
    """Verify an AlgorithmIdentifier: RSASSA-PSS with AMD's parameters; raises MalformedEvidence."""
    name, parameters = _items(der.expect(algorithm, der.SEQUENCE).content, 2)
    try:
        elements = der.elements(der.expect(parameters, der.SEQUENCE).content)
        members = {element.tag: element for element in elements}
        mask_oid, mask_hash = _items(der.only(members[0xA1].content, der.SEQUENCE).content, 2)
        trailer = members.get(0xA3)
        fits = (
            der.oid(name) == _OID_PSS
            and _is_sha384(der.only(members[0xA0].content, der.SEQUENCE))
            and der.oid(mask_oid) == _OID_MGF1
            and _is_sha384(mask_hash)
            and der.unsigned(der.only(members[0xA2].content, der.INTEGER)) == _SALT_BYTES
            and (trailer is None or der.unsigned(der.only(trailer.content, der.INTEGER)) == 1)
        )
    except KeyError:
        fits = False
    if not fits:
        raise MalformedEvidence(
            "the certificate is not signed with rsassa-pss, sha-384 and salt 48",
            reason="signature-algorithm",
        )


def _is_sha384(algorithm: der.Element) -> bool:
    members = list(der.elements(der.expect(algorithm, der.SEQUENCE).content))
    if not members or der.oid(members[0]) != _OID_SHA384:
        return False
    return all(member.tag == der.NULL and not member.content for member in members[1:])


def _common_name(name: der.Element) -> str:
    for group in der.elements(der.expect(name, der.SEQUENCE).content):
        for attribute in der.elements(der.expect(group, der.SET).content):
            kind, value = _items(der.expect(attribute, der.SEQUENCE).content, 2)
            if der.oid(kind) == _OID_COMMON_NAME:
                return der.text(value)
    return ""


def _extensions(wrapper: der.Element) -> dict[str, bytes]:
    extensions: dict[str, bytes] = {}
    listing = der.only(der.expect(wrapper, _TAG_EXTENSIONS).content, der.SEQUENCE)
    for item in der.elements(listing.content):
        members = list(der.elements(der.expect(item, der.SEQUENCE).content))
        if len(members) not in {2, 3}:
            raise MalformedEvidence("a malformed extension", reason="certificate-form")
        if len(members) == 3:  # noqa: PLR2004  # whether it is critical
            der.boolean(members[1])
        oid = der.oid(members[0])
        if oid in extensions:
            raise MalformedEvidence(
                f"the certificate has the extension {oid} twice", reason="duplicate-extension"
            )
        extensions[oid] = der.expect(members[-1], der.OCTET_STRING).content
    return extensions
