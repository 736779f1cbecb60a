"""Load X.509 objects of strangers so that nothing about them can surprise later.

`cryptography` parses lazily: a certificate that loads may still raise when its names, key or extensions are looked at, and not
only ValueError. Here every part that we use is looked at once, inside one guard.
"""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from contrast_tasks.attestation.errors import MalformedEvidence

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


def load_certificate(content: bytes, what: str) -> x509.Certificate:
    """Return a certificate from DER or PEM, all of whose parts parse. Raises MalformedEvidence naming `what`."""
    try:
        if content.startswith(b"-----BEGIN"):
            certificate = x509.load_pem_x509_certificate(content)
        else:
            certificate = x509.load_der_x509_certificate(content)
        _look_at(certificate)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a certificate that parses") from err
    return certificate


def _look_at(certificate: x509.Certificate) -> None:
    # Each of these parses a part of the certificate, and raises if it cannot.
    certificate.public_key()
    _ = (
        certificate.version,
        certificate.subject.rfc4514_string(),
        certificate.issuer.rfc4514_string(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
        certificate.signature_hash_algorithm,
        list(certificate.extensions),
    )


def load_crl(content: bytes, what: str) -> x509.CertificateRevocationList:
    """Return a revocation list from DER whose issuer and dates parse. Raises MalformedEvidence naming `what`."""
    try:
        crl = x509.load_der_x509_crl(content)
        _ = (crl.issuer.rfc4514_string(), crl.last_update_utc, crl.next_update_utc)
    except PARSE_ERRORS as err:
        raise MalformedEvidence(f"{what} is not a revocation list that parses") from err
    return crl
