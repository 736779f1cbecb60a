"""TLS for workloads that have a certificate of the mesh CA: both sides show one of the state in force, or there is no connection.

A context belongs to one state, so that no session of a client of another one is resumed; there are no tickets.
Source: docs/internals/coordinator.md 7.1, 11.
"""

import os
import socket
import ssl
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.attestation.pki import der
from coordinator.ca import MeshCaEnded
from coordinator.meshapi import OID_WORKLOAD_SECRET_ID
from coordinator.state import Guard, State

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# The first byte of a record of TLS that belongs to a handshake. Source: RFC 8446, 5.1.
_HANDSHAKE = b"\x16"
# Certificates live longer; and a session that is resumed is no older than OpenSSL's 5 minutes.
_CONTEXT_LIFETIME = timedelta(minutes=5)
_SECRET_ID = x509.ObjectIdentifier(OID_WORKLOAD_SECRET_ID)


class Peer(NamedTuple):
    """Who has shown a certificate of a state's mesh CA; secret_id: which the certificate names, "" for none."""

    state: State
    secret_id: str


class _Made(NamedTuple):
    """A context for the handshakes of a state, and when it was made."""

    state: State
    moment: datetime
    context: ssl.SSLContext


class MeshTls:
    """Makes the handshakes of a listener; its key lives as long as the process. refused: is told the cause of each that fails."""

    def __init__(
        self, guard: Guard, refused: Callable[[Exception], None] = lambda _cause: None
    ) -> None:
        self._guard = guard
        self._refused = refused
        key = ec.generate_private_key(ec.SECP256R1())
        self._spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self._key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self._made: _Made | None = None

    def __call__(self, link: socket.socket) -> tuple[socket.socket, object]:
        """Return the connection inside TLS, and the Peer.

        Raises StateUnavailable or StoreError if there is no state, OSError if the handshake fails.
        """
        try:
            return self._shake_hands(link)
        except Exception as err:
            self._refused(err)
            raise

    def _shake_hands(self, link: socket.socket) -> tuple[socket.socket, object]:
        # Who says nothing, or speaks no TLS, costs no signature.
        if link.recv(1, socket.MSG_PEEK) != _HANDSHAKE:
            raise ssl.SSLError("the peer does not speak tls")
        state = self._guard.current()
        context = self._context(state)
        # The caller ends a late connection by `link`, so that has to stay.
        inside = context.wrap_socket(link.dup(), server_side=True)
        try:
            return inside, Peer(state, _secret_id(inside.getpeercert(binary_form=True)))
        except BaseException:
            inside.close()
            raise

    def _context(self, state: State) -> ssl.SSLContext:
        """Return the context of a state: to make one takes longer than a handshake, and strangers can ask for those."""
        made, now = self._made, self._guard.now()
        if (
            made is None
            or made.state is not state
            or not made.moment <= now < made.moment + _CONTEXT_LIFETIME
        ):
            # Two threads may both make one; either will do.
            made = self._made = _Made(state, now, self._new_context(state))
        return made.context

    def _new_context(self, state: State) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(_CIPHERS)
        context.set_alpn_protocols(["http/1.1"])
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=state.ca.mesh_ca_pem.decode())
        self._load(context, self._certificate(state))
        return context

    def _certificate(self, state: State) -> bytes:
        entries = {
            policy_hash: entry
            for policy_hash, entry in state.manifest.policies.items()
            if entry.role == ROLE_COORDINATOR
        }
        try:
            return state.ca.issue(
                public_key_spki=self._spki,
                sans=tuple(dict.fromkeys(san for entry in entries.values() for san in entry.sans)),
                policy_hash=bytes.fromhex(next(iter(entries), "")),
                extensions=(),
                now=self._guard.now(),
            )
        except MeshCaEnded as err:
            raise ssl.SSLError(str(err)) from err

    def _load(self, context: ssl.SSLContext, chain_pem: bytes) -> None:
        """Load certificate and key from memory: `ssl` takes the names of files only."""
        with os.fdopen(os.memfd_create("transit", os.MFD_CLOEXEC), "wb") as file:
            file.write(chain_pem + self._key_pem)
            file.flush()
            context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")


def _secret_id(certificate_der: bytes | None) -> str:
    if certificate_der is None:
        raise ssl.SSLError("the peer has no certificate")
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        value = certificate.extensions.get_extension_for_oid(_SECRET_ID).value
    except x509.ExtensionNotFound:
        return ""
    return der.only(value.public_bytes(), der.OCTET_STRING).content.decode()
