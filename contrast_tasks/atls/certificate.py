"""The certificate of attested TLS: self-signed and short-lived, with evidence for its key and a nonce in an extension.

Source: docs/internals/attestation.md 1.1, 1.4, 1.5.
"""

import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from contrast_tasks.atls.errors import BadPeerCertificate, EvidenceMissing, NoReferenceAccepted
from contrast_tasks.atls.nonce import NONCE_BYTES
from contrast_tasks.atls.types import Evidence, PrivateKey, Validators
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import EVIDENCE_OIDS, MAX_DOCUMENT_BYTES, Issuer

_VALIDITY = timedelta(hours=2)  # on both sides of now, so that clocks may differ
_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Contrast")])
# Critical extensions that cannot change the meaning of a self-signed leaf.
_KNOWN_CRITICAL = frozenset({"2.5.29.15", "2.5.29.17", "2.5.29.19", "2.5.29.37"})


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key, the default for certificates of attested TLS."""
    return ec.generate_private_key(ec.SECP256R1())


def spki_der(holder: PrivateKey | x509.Certificate) -> bytes:
    """Return the DER SubjectPublicKeyInfo of a key pair or a certificate."""
    return holder.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def report_data(spki: bytes, nonce: bytes) -> bytes:
    """Return the report data that evidence must hold, 64 bytes: SHA-512 over DER SubjectPublicKeyInfo and nonce."""
    return hashlib.sha512(spki + nonce).digest()


def make_certificate(
    key: PrivateKey, issuer: Issuer | None, nonce: bytes, now: datetime
) -> x509.Certificate:
    """Return a self-signed certificate for `key`; an issuer adds evidence for key and nonce.

    nonce: the 32 bytes that the peer chose; ignored without an issuer.
    Raises ValueError for a nonce of another length, and the issuer's errors.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(_NAME)
        .issuer_name(_NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALIDITY)
        .not_valid_after(now + _VALIDITY)
    )
    if issuer is not None:
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"a nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
        document = issuer.issue(report_data(spki_der(key), nonce))
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(issuer.oid), document)
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def verify_self_signed(certificate: x509.Certificate, now: datetime) -> x509.Extensions:
    """Verify that a certificate is signed by its own key and valid at `now`; return its extensions.

    Attested TLS makes this check in place of the usual chain and host name checks. Raises BadPeerCertificate.
    """
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise BadPeerCertificate(
            f"the peer's certificate is valid from {certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}, but it is {now:%Y-%m-%dT%H:%M:%SZ}",
            hint="compare the clocks of both machines",
        )
    try:
        certificate.verify_directly_issued_by(certificate)
        extensions = certificate.extensions
    except (InvalidSignature, TypeError) as err:
        raise BadPeerCertificate("the peer's certificate is not signed by its own key") from err
    except ValueError as err:
        # Subject and issuer differ, an extension is malformed, or the algorithm is unknown.
        raise BadPeerCertificate(f"the peer's certificate is malformed: {err}") from err
    except x509.DuplicateExtension as err:
        raise BadPeerCertificate("the peer's certificate has an extension twice") from err
    for extension in extensions:
        if extension.critical and extension.oid.dotted_string not in _KNOWN_CRITICAL:
            raise BadPeerCertificate(
                f"the peer's certificate has the unknown critical extension {extension.oid.dotted_string}"
            )
    return extensions


def verify_peer_certificate(
    certificate: x509.Certificate, validators: Validators | None, nonce: bytes, now: datetime
) -> Evidence | None:
    """Return the evidence in a peer's certificate as the first accepting validator vouches for it.

    nonce: the 32 bytes that we sent to the peer.
    validators: tried in order. None: check the self-signature only and return None.
    Raises BadPeerCertificate, EvidenceMissing, NoReferenceAccepted, or the error of the only validator of the right type.
    """
    extensions = verify_self_signed(certificate, now)
    if validators is None:
        return None
    oid, document = _only_document(extensions)
    return judge_document(document, oid, report_data(spki_der(certificate), nonce), validators, now)


def judge_document(
    document: bytes, oid: str | None, expected: bytes, validators: Validators, now: datetime
) -> Evidence:
    """Return the evidence in a document as the first accepting validator vouches for it.

    oid: of its kind, None if the peer does not tell. expected: the report data, 64 bytes. validators: tried in order.
    Raises BadPeerCertificate, EvidenceMissing, NoReferenceAccepted, or the error of the only validator of the right type.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise BadPeerCertificate(
            f"the evidence document has {len(document)} bytes, expected at most {MAX_DOCUMENT_BYTES}"
        )
    fitting = [validator for validator in validators if oid in (None, validator.oid)]
    if not fitting:
        wanted = ", ".join(sorted({validator.oid for validator in validators})) or "no type at all"
        raise EvidenceMissing(
            f"the peer's evidence is of type {oid}, but the reference values are for {wanted}",
            hint="generate the manifest for the platform that the peer runs on",
        )
    rejections: dict[str, EvidenceRejected] = {}
    for validator in fitting:
        try:
            return validator.verify(document, expected, now)
        except EvidenceRejected as err:
            err.by = validator.name
            rejections[validator.name] = err
    if len(rejections) == 1:
        raise next(iter(rejections.values()))
    raise NoReferenceAccepted(rejections)


def _only_document(extensions: x509.Extensions) -> tuple[str, bytes]:
    found = [
        (extension.oid.dotted_string, extension.value)
        for extension in extensions
        if extension.oid.dotted_string in EVIDENCE_OIDS
    ]
    if not found:
        raise EvidenceMissing("the peer's certificate carries no evidence")
    if len(found) > 1:
        raise BadPeerCertificate("the peer's certificate carries more than one evidence document")
    oid, value = found[0]
    return oid, value.public_bytes()
