"""The client's end of attested TLS: connect, verify the server, and open a gRPC channel through the tunnel.

    with connect(host, port, validators=validators, now=now) as peer:
        api.set_manifest(peer.channel, ...)

`connect` shakes hands in the caller's thread, so that a refusal is a typed error and not a gRPC status. It never retries:
a new attempt is a new connection with a new nonce.
"""

import socket
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import grpc

from contrast_tasks.addresses import joined
from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.session import READ_BYTES, ClientSession
from contrast_tasks.atls.tunnel import Tunnel
from contrast_tasks.atls.types import Evidence, PrivateKey, Validators
from contrast_tasks.errors import ContrastError, UsageError
from contrast_tasks.evidence_documents import Issuer

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a history of manifests with a thousand policies
_VERDICT_S = 5.0  # how long the server may take to judge our evidence


class AtlsChannel:
    """An attested connection: `channel` for gRPC calls, `evidence` of the server."""

    def __init__(self, session: ClientSession, tunnel: Tunnel) -> None:
        self.evidence: Evidence | None = session.evidence
        self._tunnel = tunnel
        self.channel = grpc.insecure_channel(
            f"unix:{tunnel.path}",
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.default_authority", "contrast"),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ],
        )

    @property
    def refusal(self) -> ContrastError | None:
        """Return why the connection ended, None while it is open; a refused certificate differs from a lost connection."""
        return self._tunnel.failure

    def close(self) -> None:
        """Close the channel and the connection, and join the tunnel's thread."""
        self.channel.close()
        self._tunnel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def connect(
    host: str,
    port: int,
    *,
    validators: Validators | None,
    issuer: Issuer | None = None,
    client_key: PrivateKey | None = None,
    now: datetime,
    timeout_s: float = 30.0,
    unverified: bool = False,
    nonce_in_alpn: bool = False,
) -> AtlsChannel:
    """Return an attested connection to the server at host:port.

    validators: one of them must accept the server's evidence. None only together with `unverified`: an initializer accepts
        any Coordinator that its cluster names, because only its own evidence is judged there.
    issuer: makes our own evidence, for listeners that demand it. client_key: the key of our certificate, an owner key (P-384
        or RSA) or by default a fresh one if there is an issuer.
    now: the time of verification. timeout_s: for connecting and shaking hands together.
    nonce_in_alpn: send our nonce as an ALPN entry, not as the server name.
    Raises EvidenceRejected (the server is not acceptable, or refused our evidence) or CoordinatorUnreachable; UsageError on
    Windows, where another process could take the place of a channel over TCP.
    """
    if (validators is None) is not unverified:
        raise ValueError("give either validators or unverified=True")
    if not hasattr(socket, "AF_UNIX"):
        raise UsageError(
            "attested TLS needs a Unix socket for its tunnel, and Python has none on this system",
            hint="run the command in WSL; 'verify' works over HTTP too, with -c http://HOST:1314",
        )
    deadline = time.monotonic() + timeout_s
    session = ClientSession(
        validators=validators,
        issuer=issuer,
        client_key=client_key,
        clock=lambda: now,
        by_alpn=nonce_in_alpn,
    )
    link = _dial(host, port, timeout_s)
    try:
        _shake(session, link, joined(host, port), lambda: deadline - time.monotonic())
        tunnel = Tunnel(session, link)
    except BaseException:
        link.close()
        raise
    if issuer is not None:
        refusal = tunnel.wait_for_verdict(max(0.0, min(_VERDICT_S, deadline - time.monotonic())))
        if refusal is not None:
            tunnel.close()
            raise refusal
    return AtlsChannel(session, tunnel)


def _dial(host: str, port: int, timeout_s: float) -> socket.socket:
    try:
        link = socket.create_connection((host, port), timeout_s)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as err:
        reason = "timed out" if isinstance(err, TimeoutError) else (err.strerror or str(err))
        raise HandshakeFailed(
            f"cannot connect to {joined(host, port)}: {reason.lower()}",
            hint="check the address, and that the coordinator is running",
        ) from err
    return link


def _shake(
    session: ClientSession, link: socket.socket, peer: str, remaining_s: Callable[[], float]
) -> None:
    received = b""
    while True:
        try:
            complete = session.advance(received)
        finally:
            _send(link, session.pending())
        if complete:
            return
        budget_s = remaining_s()
        if budget_s <= 0:
            raise HandshakeFailed(f"{peer} did not finish the handshake in time")
        link.settimeout(budget_s)
        try:
            received = link.recv(READ_BYTES)
        except TimeoutError as err:
            raise HandshakeFailed(f"{peer} did not finish the handshake in time") from err
        except OSError as err:
            raise HandshakeFailed(f"{peer} broke off the handshake") from err
        if not received:
            raise HandshakeFailed(
                f"{peer} closed the connection during the handshake",
                hint="is this the coordinator's port, and is it ready?",
            )


def _send(link: socket.socket, waiting: bytes) -> None:
    # The next read shows a failure with a better reason: the peer's alert, if it sent one.
    if waiting:
        try:
            link.sendall(waiting)
        except OSError:
            return
