"""One attested TLS handshake as a state machine over bytes: no sockets, no threads, no clock of its own.

Each of these rules is needed for security (docs/internals/attestation.md 1.2-1.9):
1. TLS 1.3 only. Its CertificateRequest precedes the server's Certificate. So a client that judges the server already knows
   the server's nonce and can still choose its own certificate.
2. Every connection has its own context, so no ticket or session can be resumed.
3. Our verdict on certificates replaces OpenSSL's; a connection without a verdict fails.
4. The verify callback runs more than once; the first verdict stands.
5. An exception in a callback is kept there: the peer gets an alert, and `advance` raises the exception.
6. A client judges the server before it makes evidence of its own.
"""

import secrets
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from contrast_tasks.atls import nonce as nonces
from contrast_tasks.atls.certificate import (
    make_certificate,
    new_key,
    spki_der,
    verify_peer_certificate,
)
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    HandshakeFailed,
    OtherProtocol,
    OwnEvidenceRefused,
)
from contrast_tasks.atls.types import (
    Clock,
    Evidence,
    PeerIdentity,
    PrivateKey,
    RequireClient,
    Validators,
)
from contrast_tasks.errors import ContrastError, EvidenceRejected
from contrast_tasks.evidence_documents import Issuer

READ_BYTES = 65536
T = TypeVar("T")
# Certificates are parsed lazily; reading a part of one can raise these.
_PARSE_ERRORS = (ValueError, TypeError, Warning, UnsupportedAlgorithm, x509.InvalidVersion)
# Alerts of TLS 1.3 about a certificate, and about the version, as OpenSSL names them behind the word alert. Source: RFC 8446, 6.
_EVIDENCE_ALERTS = {"bad certificate", "certificate unknown", "unknown ca", "certificate required"}
_PROTOCOL_VERSION = "protocol version"
# The first record of a TLS peer is an alert or part of the handshake. Source: RFC 8446, 5.1.
_FIRST_RECORDS = (b"\x15", b"\x16")
_RECORD_HEAD, _MAX_RECORD = 5, 2**14


class Session:
    """What both sides share: bytes in, bytes out, and the true cause of a failure."""

    _peer: ClassVar[str]

    def __init__(self, context: SSL.Context, nonce: bytes) -> None:
        # OpenSSL copies the context into the connection, so it must be complete here.
        self.connection = SSL.Connection(context, None)
        self.nonce = nonce
        self._cause: Exception | None = None
        self._judged: tuple[x509.Certificate, Evidence | None] | None = None
        self._first_byte = b""

    def advance(self, received: bytes = b"") -> bool:
        """Continue the handshake with bytes from the peer; return whether it is complete.

        Send what `pending()` returns afterwards, also when this raises: it holds the alert.
        Raises EvidenceRejected, HandshakeFailed, and errors of the issuer or `require_client`.
        """
        if received:
            self._first_byte = self._first_byte or received[:1]
            self.connection.bio_write(received)
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as err:
            raise (self._cause or self.explain(err)) from err
        if self._cause is not None:
            raise self._cause
        self._finish()
        return True

    def pending(self) -> bytes:
        """Return and forget all bytes to send to the peer."""
        parts = []
        while True:
            try:
                parts.append(self.connection.bio_read(READ_BYTES))
            except SSL.WantReadError:
                return b"".join(parts)

    def explain(self, error: SSL.Error) -> ContrastError:
        """Return our error for an OpenSSL error; an alert about our certificate becomes OwnEvidenceRefused."""
        reason = ssl_reason(error)
        alert = reason.partition(" alert ")[2]
        if alert in _EVIDENCE_ALERTS:
            return OwnEvidenceRefused(
                f"the peer refused our certificate or evidence ({reason})",
                hint="the reason is in the peer's log only: compare its reference values with this machine",
            )
        speaks_tls = self._first_byte in (b"", *_FIRST_RECORDS) and alert != _PROTOCOL_VERSION
        kind = HandshakeFailed if speaks_tls else OtherProtocol
        return kind(f"the attested tls handshake failed: {reason}")

    def _on_certificate(
        self,
        connection: SSL.Connection,
        certificate: crypto.X509,
        _errno: int,
        depth: int,
        _ok: int,
    ) -> bool:
        if depth != 0:
            chain = BadPeerCertificate(f"the {self._peer} sent a certificate chain")
            self._cause = self._cause or chain
            return False
        if self._judged is None and self._cause is None:
            try:
                leaf = _leaf(certificate)
                self._judged = (leaf, self._judge(connection, leaf))
            except Exception as err:  # noqa: BLE001  # a parser or an issuer may raise anything, see rule 5
                self._cause = err
        return self._judged is not None and self._cause is None

    def _judge(self, connection: SSL.Connection, leaf: x509.Certificate) -> Evidence | None:
        """Return the evidence in the peer's certificate, None if none is demanded; raises if it is refused."""
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError


class ServerSession(Session):
    """The server's side; `identity` is set once `advance` has returned True.

    `require_client` is called here, at the start of the handshake. It returns the validators for this client and the state
    that the client's requests will see. Without it a client certificate is optional and not judged.
    """

    _peer = "client"

    def __init__(
        self,
        *,
        key: ec.EllipticCurvePrivateKey,
        issuer: Issuer | None,
        require_client: RequireClient | None,
        clock: Clock,
    ) -> None:
        nonce = secrets.token_bytes(nonces.NONCE_BYTES)
        context = _new_context(SSL.TLS_SERVER_METHOD)
        context.add_client_ca(nonces.ca_name_certificate(nonce))
        # OpenSSL offers TLS 1.3 without a certificate only if a server name callback may bring one.
        context.set_tlsext_servername_callback(_ignore_server_name)
        context.set_alpn_select_callback(_weak(self._on_client_hello))
        mode = SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if require_client else 0)
        context.set_verify(mode, _weak(self._on_certificate))
        super().__init__(context, nonce)
        self.connection.set_accept_state()
        self._key, self._issuer, self._clock = key, issuer, clock
        self._validators: Validators | None = None
        self._snapshot: object = None
        if require_client is not None:
            try:
                self._validators, self._snapshot = require_client()
            except Exception as err:  # noqa: BLE001  # any error refuses this client, see rule 5
                self._cause = err
        self._mutual = require_client is not None
        self.identity: PeerIdentity | None = None

    def _on_client_hello(self, connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
        # A connection without a certificate ends with the alert handshake_failure; raising would send another alert.
        if nonces.ALPN_H2 not in offered:
            self._cause = HandshakeFailed("the client does not offer the protocol h2")
            raise self._cause
        if self._cause is None:
            try:
                nonce = nonces.select_nonce(offered, connection.get_servername())
                certificate = make_certificate(self._key, self._issuer, nonce, self._clock())
                connection.use_certificate(certificate)
                connection.use_privatekey(self._key)
            except Exception as err:  # noqa: BLE001  # an issuer may raise anything, see rule 5
                self._cause = err
        return nonces.ALPN_H2

    def _judge(self, _connection: SSL.Connection, leaf: x509.Certificate) -> Evidence | None:
        return _evidence(leaf, self._validators, self.nonce, self._clock) if self._mutual else None

    def _finish(self) -> None:
        if self.connection.get_alpn_proto_negotiated() != nonces.ALPN_H2:
            raise HandshakeFailed("the client does not offer the protocol h2")
        if self._mutual and (self._judged is None or self._judged[1] is None):
            raise BadPeerCertificate("the client's certificate was never judged")
        if self.connection.get_peer_cert_chain():  # on this side the leaf is not part of it
            raise BadPeerCertificate("the client sent more than one certificate")
        spki = certificate_der = evidence = None
        if self._judged is not None:
            leaf, evidence = self._judged
            certificate_der, spki = leaf.public_bytes(Encoding.DER), spki_der(leaf)
        self.identity = PeerIdentity(
            public_key_spki=spki,
            certificate_der=certificate_der,
            evidence=evidence,
            snapshot=self._snapshot,
        )


class ClientSession(Session):
    """The client's side; `evidence` is the server's, set once `advance` has returned True.

    validators: None accepts any self-signed certificate.
    issuer, client_key: our own evidence and key; without both no client certificate is sent.
    by_alpn: send the nonce as an ALPN entry, as newer clients do, not as the server name.
    """

    _peer = "server"

    def __init__(
        self,
        *,
        validators: Validators | None,
        issuer: Issuer | None,
        client_key: PrivateKey | None,
        clock: Clock,
        by_alpn: bool = False,
    ) -> None:
        nonce = secrets.token_bytes(nonces.NONCE_BYTES)
        context = _new_context(SSL.TLS_CLIENT_METHOD)
        context.set_verify(SSL.VERIFY_PEER, _weak(self._on_certificate))
        context.set_alpn_protos(
            [nonces.alpn_entry(nonce), nonces.ALPN_H2] if by_alpn else [nonces.ALPN_H2]
        )
        super().__init__(context, nonce)
        if not by_alpn:
            self.connection.set_tlsext_host_name(nonces.server_name(nonce))
        self.connection.set_connect_state()
        self._validators, self._issuer, self._clock = validators, issuer, clock
        self._key = client_key or (new_key() if issuer is not None else None)
        self.evidence: Evidence | None = None

    def _judge(self, connection: SSL.Connection, leaf: x509.Certificate) -> Evidence | None:
        evidence = _evidence(leaf, self._validators, self.nonce, self._clock)
        self._present(connection)
        return evidence

    def _present(self, connection: SSL.Connection) -> None:
        if self._key is None:
            return
        nonce = b""
        if self._issuer is not None:
            nonce = nonces.nonce_from_ca_names(_ca_names(connection))
        certificate = make_certificate(self._key, self._issuer, nonce, self._clock())
        connection.use_certificate(certificate)
        connection.use_privatekey(self._key)

    def _finish(self) -> None:
        if self._judged is None:
            raise BadPeerCertificate("the server's certificate was never judged")
        if self.connection.get_alpn_proto_negotiated() != nonces.ALPN_H2:
            raise OtherProtocol("the server does not speak the protocol h2")
        if len(self.connection.get_peer_cert_chain() or ()) != 1:
            raise BadPeerCertificate("the server sent more than one certificate")
        self.evidence = self._judged[1]


def has_first_record(received: bytes) -> bool:
    """Return whether a client's first record has arrived whole: before that, a session would only cost.

    Raises OtherProtocol if it cannot be the beginning of a handshake.
    """
    if not _FIRST_RECORDS[1].startswith(received[:1]):
        raise OtherProtocol("the client does not speak tls")
    size = int.from_bytes(received[3:_RECORD_HEAD])
    if size > _MAX_RECORD:
        raise OtherProtocol("the client's first record is too long for tls")
    return len(received) >= _RECORD_HEAD + size


def ssl_reason(error: SSL.Error) -> str:
    """Return OpenSSL's text for an error in lower case, without the structure of its error queue."""
    if isinstance(error, SSL.ZeroReturnError):
        return "the peer closed the connection"
    entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
    reasons = [str(entry[-1]) for entry in entries if entry]
    return ", ".join(reasons).lower() or "unexpected end of the stream"


def _weak(method: Callable[..., T]) -> Callable[..., T]:
    """Return a function that calls a bound method without keeping its object alive.

    The session owns the connection, which owns the context, which owns the callbacks. A strong reference back would leave
    the native memory of each connection to the garbage collector.
    """
    reference = weakref.WeakMethod(method)

    def call(*arguments: Any) -> T:
        bound = reference()
        if bound is None:
            raise RuntimeError("the session is gone")
        return bound(*arguments)

    return call


def _ignore_server_name(_connection: SSL.Connection) -> None:
    """Do nothing: the ALPN callback runs next and reads the server name too."""


def _new_context(method: int) -> SSL.Context:
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    return context


def _ca_names(connection: SSL.Connection) -> list[x509.Name]:
    try:
        return connection.get_client_ca_list(as_cryptography=True)
    except _PARSE_ERRORS as err:
        raise HandshakeFailed("the server's acceptable ca cannot be read") from err


def _leaf(certificate: crypto.X509) -> x509.Certificate:
    try:
        return certificate.to_cryptography()
    except _PARSE_ERRORS as err:
        raise BadPeerCertificate(f"the peer's certificate is malformed: {err}") from err


def _evidence(
    leaf: x509.Certificate, validators: Validators | None, nonce: bytes, clock: Clock
) -> Evidence | None:
    try:
        return verify_peer_certificate(leaf, validators, nonce, clock())
    except EvidenceRejected:
        raise
    except _PARSE_ERRORS as err:  # a key or field that cannot be decoded
        raise BadPeerCertificate(f"the peer's certificate is malformed: {err}") from err
