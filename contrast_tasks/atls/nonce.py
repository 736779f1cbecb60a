"""Where the two nonces of an attested connection are sent.

The client sends its nonce as the server name (standard base64) or, if it is newer, in the first ALPN entry. The server sends
its own as the common name of the only acceptable CA in its CertificateRequest. Source: docs/internals/attestation.md 1.2.
"""

import base64
import binascii
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from contrast_tasks.atls.errors import HandshakeFailed

NONCE_BYTES = 32
ALPN_H2 = b"h2"
_ALPN_FAMILY = b"atls"
_ALPN_PREFIX = b"atls:v1:nonce:"
_EPOCH_YEAR = 2000
# The object identifier of elliptic curve keys (RFC 5480, 2.1.1), and one that nobody has.
_KIND_EC, _KIND_UNKNOWN = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f")


def server_name(nonce: bytes) -> bytes:
    """Return the server name that carries a client's nonce: 44 characters of base64."""
    return base64.b64encode(nonce)


def alpn_entry(nonce: bytes) -> bytes:
    """Return the ALPN entry that carries a client's nonce: the prefix and 64 lower-case hex digits."""
    return _ALPN_PREFIX + nonce.hex().encode()


def select_nonce(offered: Sequence[bytes], name: bytes | None) -> bytes:
    """Return the client's nonce from its ALPN entries, else from the server name.

    The first entry that begins with `atls` decides; if it is of another version, there is no fallback.
    Raises HandshakeFailed if there is no nonce or it is not 32 bytes.
    """
    for entry in offered:
        if entry.startswith(_ALPN_FAMILY):
            return _checked(_from_alpn(entry), "the alpn entry")
    if not name:
        raise HandshakeFailed("the client sent no nonce, neither by alpn nor as server name")
    return _checked(_from_base64(name, "the server name"), "the server name")


def ca_name_certificate(nonce: bytes) -> x509.Certificate:
    """Return a certificate whose subject carries a server's nonce.

    OpenSSL sends only the subject, and no peer sees the signature. So one template serves all connections, with the nonce
    written into its name; this saves a signature for each connection.
    """
    template, mark = _ca_name_template()
    return x509.load_der_x509_certificate(template.replace(mark, server_name(nonce)))


@cache
def _ca_name_template() -> tuple[bytes, bytes]:
    mark = server_name(bytes(NONCE_BYTES))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, mark.decode())])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(_EPOCH_YEAR, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(_EPOCH_YEAR, 1, 2, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    # Of a key of an unknown kind OpenSSL decodes nothing, which takes half the time.
    return certificate.public_bytes(Encoding.DER).replace(_KIND_EC, _KIND_UNKNOWN), mark


def nonce_from_ca_names(names: Sequence[x509.Name]) -> bytes:
    """Return the server's nonce from its list of acceptable CAs.

    Raises HandshakeFailed unless the list holds exactly one name, whose common name is base64 of 32 bytes.
    """
    if len(names) != 1:
        raise HandshakeFailed(f"the server named {len(names)} acceptable cas, expected 1")
    found = names[0].get_attributes_for_oid(NameOID.COMMON_NAME)
    if not found or not isinstance(found[0].value, str):
        raise HandshakeFailed("the acceptable ca has no common name of type string")
    text = found[0].value.encode("utf-8", "replace")
    return _checked(_from_base64(text, "the acceptable ca's name"), "the acceptable ca's name")


def _from_alpn(entry: bytes) -> bytes:
    digits = entry.removeprefix(_ALPN_PREFIX)
    if digits == entry:
        raise HandshakeFailed("the client speaks another version of attested tls, expected atls:v1")
    try:
        return binascii.unhexlify(digits)
    except binascii.Error as err:
        raise HandshakeFailed("the nonce in the alpn entry is not hex") from err


def _from_base64(text: bytes, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as err:
        raise HandshakeFailed(f"{where} is not base64") from err


def _checked(nonce: bytes, where: str) -> bytes:
    if len(nonce) != NONCE_BYTES:
        raise HandshakeFailed(
            f"{where} holds a nonce of {len(nonce)} bytes, expected {NONCE_BYTES}"
        )
    return nonce
