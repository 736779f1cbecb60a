"""Load X.509 objects of strangers so that no part of them can raise later.

`cryptography` parses lazily: a certificate that loads may still raise when its names, key or extensions are looked at, and not
only ValueError. Here every part that we use is looked at once, inside one guard.
"""

import base64
import re
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from contrast_tasks.attestation.errors import MalformedEvidence

_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+?)-----END CERTIFICATE-----")

# A warning counts as an error where the interpreter is told so; refusing is the safe reading of it.
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
    """Return an instant as it stands in messages: in UTC, to the second."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def pem_to_der(content: bytes) -> list[bytes]:
    """Return the certificates of PEM text in DER, in order, unread; what stands around them is ignored."""
    found = []
    for body in _PEM.findall(content):
        try:
            found.append(base64.b64decode(body))
        except ValueError as err:
            raise MalformedEvidence("a certificate in pem is not base64") from err
    return found


def der_to_pem(content: bytes) -> bytes:
    """Return a certificate in PEM, unread."""
    text = base64.encodebytes(content)
    return b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"


def load_certificate(content: bytes, what: str) -> x509.Certificate:
    """Return a certificate from DER or PEM, all of whose parts parse. Raises MalformedEvidence naming `what`."""
    try:
        return _certificate(content)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a certificate that parses") from err


def issuer_text(certificate: x509.Certificate) -> str:
    """Return the issuer's name for people; raises MalformedEvidence, since verification compares bytes and never parsed it."""
    try:
        return certificate.issuer.rfc4514_string()
    except PARSE_ERRORS as err:
        raise MalformedEvidence("the certificate's issuer does not parse") from err


def load_crl(content: bytes, what: str) -> x509.CertificateRevocationList:
    """Return a revocation list from DER whose issuer, dates and extensions parse, and that is a whole one.

    Raises MalformedEvidence naming `what`, also for a list of changes, of some certificates or reasons only, or with a critical
    extension that we do not know: silence of such a list means nothing (RFC 5280, 5.2).
    """
    try:
        crl = _crl(content)
        extensions = list(crl.extensions)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a der revocation list") from err
    for extension in extensions:
        if _narrows(extension):
            raise MalformedEvidence(
                f"{what} is a partial revocation list, by its extension {extension.oid.dotted_string}"
            )
    return crl


def _narrows(extension: x509.Extension[x509.ExtensionType]) -> bool:
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


# One platform sends the same few certificates again and again, and several chains share them.
@lru_cache(maxsize=128)
def _certificate(content: bytes) -> x509.Certificate:
    if content.startswith(b"-----BEGIN"):
        certificate = x509.load_pem_x509_certificate(content)
    else:
        certificate = x509.load_der_x509_certificate(content)
    # Each of these parses a part of the certificate, and raises if it cannot.
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
