"""Load untrusted X.509 objects so that no part of them raises later.

`cryptography` parses lazily: a certificate that loads may still raise various errors when its names, key or extensions are
read. Here every part that we use is read once, and any error means that the object is malformed.
"""

import base64
import re
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from contrast_tasks.attestation.errors import MalformedEvidence

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")

# An interpreter may be told to raise warnings as errors; then refusing is the safe choice.
PARSE_ERRORS = (
    ValueError,
    TypeError,
    KeyError,
    Warning,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
)


def utc_text(moment: datetime) -> str:
    """Return a time for messages, in UTC and to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def pem_to_der(content: bytes) -> list[bytes]:
    """Return the certificates of a PEM text as DER, in order and not parsed; other text is ignored."""
    try:
        return [base64.b64decode(body) for body in _PEM.findall(content)]
    except ValueError as err:
        raise MalformedEvidence("a certificate in pem is not base64") from err


def der_to_pem(content: bytes) -> bytes:
    """Return the PEM form of a certificate."""
    text = base64.encodebytes(content)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def load_certificate(content: bytes, what: str) -> x509.Certificate:
    """Return a certificate from DER or PEM whose parts all parse; raises MalformedEvidence naming `what`."""
    try:
        return _certificate(content)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a certificate that parses") from err


def issuer_text(certificate: x509.Certificate) -> str:
    """Return the issuer's name as text. Raises MalformedEvidence: loading does not parse it, verification compares bytes."""
    try:
        return certificate.issuer.rfc4514_string()
    except PARSE_ERRORS as err:
        raise MalformedEvidence("the certificate's issuer does not parse") from err


def load_crl(content: bytes, what: str) -> x509.CertificateRevocationList:
    """Return a complete revocation list from DER whose issuer, dates and extensions parse.

    Raises MalformedEvidence naming `what`, also for a delta list, a list for some certificates or reasons only, or one with an
    unknown critical extension: a certificate missing from such a list may still be revoked (RFC 5280, 5.2).
    """
    try:
        crl = _crl(content)
        extensions = list(crl.extensions)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a der revocation list") from err
    for extension in extensions:
        if _limits_scope(extension):
            raise MalformedEvidence(
                f"{what} is a partial revocation list, by its extension {extension.oid.dotted_string}"
            )
    return crl


def _limits_scope(extension: x509.Extension[x509.ExtensionType]) -> bool:
    value = extension.value
    if isinstance(value, x509.IssuingDistributionPoint):
        return bool(
            value.indirect_crl
            or value.only_some_reasons
            or value.only_contains_user_certs
            or value.only_contains_ca_certs
            or value.only_contains_attribute_certs
        )
    if isinstance(value, x509.DeltaCRLIndicator):
        return True
    return extension.critical and not isinstance(
        value, x509.CRLNumber | x509.AuthorityKeyIdentifier
    )


# A platform repeats its few certificates, and chains share them.
@lru_cache(maxsize=128)
def _certificate(content: bytes) -> x509.Certificate:
    if content.startswith(b"-----BEGIN"):
        certificate = x509.load_pem_x509_certificate(content)
    else:
        certificate = x509.load_der_x509_certificate(content)
    # Each access parses a part of the certificate and raises if it is malformed.
    certificate.public_key()
    _ = (
        certificate.version,
        certificate.subject,
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.signature_hash_algorithm,
        list(certificate.extensions),
    )
    return certificate


@lru_cache(maxsize=16)
def _crl(content: bytes) -> x509.CertificateRevocationList:
    crl = x509.load_der_x509_crl(content)
    _ = (crl.issuer, crl.last_update_utc, crl.next_update_utc)
    return crl
