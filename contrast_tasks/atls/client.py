"""The client's end of attested TLS: connects, judges the server, and hands out a gRPC channel through the tunnel.

    with connect(host, port, validators=validators, now=now) as peer:
        api.set_manifest(peer.channel, ...)

The handshake happens in `connect`, in the caller's thread, so that a refusal is a typed error and not a gRPC status.
Nothing is retried here: a new attempt is a new connection with a new nonce.
"""

import socket
import time
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

import grpc

from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.session import READ_BYTES, ClientSession
from contrast_tasks.atls.tunnel import Tunnel
from contrast_tasks.atls.types import Evidence, Issuer, PrivateKey, Validators
from contrast_tasks.errors import ContrastError

_MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # as the server's
_VERDICT_S = 5.0  # how long to wait for the server's judgement of our evidence


class AtlsChannel:
    """An attested connection; `channel` is for generated stubs, `evidence` is what the server proved."""

    def __init__(self, session: ClientSession, tunnel: Tunnel) -> None:
        self.evidence: Evidence | None = session.evidence
        self._tunnel = tunnel
        self.channel = grpc.insecure_channel(
            f"unix:{tunnel.path}",
            options=[
                ("grpc.enable_retries", 0),
                ("grpc.default_authority", "contrast"),
                ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
            ],
        )

    @property
    def refusal(self) -> ContrastError | None:
        """Return why the connection ended, once it has; tells a refused certificate from a lost connection."""
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

    validators: at least one of them must accept the server's evidence. None is allowed with `unverified` only: the
        initializer trusts whoever the cluster gives it, because its own evidence is what is judged there.
    issuer: evidence about ourselves, for listeners that demand it. client_key: the key of our certificate (P-384 or RSA
        owner keys too); a fresh one is made when there is an issuer and no key.
    now: the instant of verification. timeout_s: for connecting and shaking hands together.
    Raises EvidenceRejected (the server is not acceptable, or refused our evidence) or CoordinatorUnreachable.
    """
    if (validators is None) is not unverified:
        raise ValueError("no validators need unverified=True, and the other way round")
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
        _shake(session, link, f"{host}:{port}", lambda: deadline - time.monotonic())
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
            f"cannot connect to {host}:{port}: {reason.lower()}",
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
    # A failure shows at the next read with the better reason: the peer's alert, if it sent one.
    if waiting:
        try:
            link.sendall(waiting)
        except OSError:
            return
