"""Evidence without hardware, two sessions back to back in memory, and an echo service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import grpc
from cryptography import x509
from OpenSSL import SSL

from contrast_tasks.atls.certificate import new_key
from contrast_tasks.atls.nonce import ALPN_H2, nonce_from_ca_names, select_nonce
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.session import ClientSession, ServerSession, Session
from contrast_tasks.atls.types import PrivateKey
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_SNP

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
HOST_DATA = bytes.fromhex("e5" * 32)
_MARK = b"fake evidence "
SERVER_KEY = new_key()


@dataclass(frozen=True, kw_only=True)
class FakeEvidence:
    host_data: bytes
    report_data: bytes


@dataclass(kw_only=True)
class FakeIssuer:
    """Issues documents with the requested report data and records it in `issued`."""

    oid: str = OID_SNP
    host_data: bytes = HOST_DATA
    padding: int = 0
    issued: list[bytes] = field(default_factory=list)

    def issue(self, report_data: bytes) -> bytes:
        self.issued.append(report_data)
        return _MARK + self.host_data + report_data + bytes(self.padding)


@dataclass(kw_only=True)
class ReplayingIssuer:
    """Always issues the same document, for any report data."""

    document: bytes
    oid: str = OID_SNP

    def issue(self, report_data: bytes) -> bytes:
        return self.document


@dataclass(kw_only=True)
class BrokenIssuer:
    oid: str = OID_SNP

    def issue(self, report_data: bytes) -> bytes:
        raise OSError("the device with the secret name is gone")


@dataclass(kw_only=True)
class FakeValidator:
    """Accepts documents of FakeIssuer over the right report data, from guests with `host_data`."""

    name: str = "fake-0"
    oid: str = OID_SNP
    host_data: bytes = HOST_DATA
    seen: list[datetime] = field(default_factory=list)

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> FakeEvidence:
        self.seen.append(now)
        body = document.removeprefix(_MARK)
        if body == document:
            raise EvidenceRejected("the document is not fake evidence")
        if body[32:96] != report_data:
            raise EvidenceRejected("report-data is another connection's, wanted this one's")
        if body[:32] != self.host_data:
            raise EvidenceRejected(f"host data is {body[:32].hex()}")
        return FakeEvidence(host_data=body[:32], report_data=report_data)


def clock() -> datetime:
    return NOW


def server_session(**changes: Any) -> ServerSession:
    """Return a mutual server with good evidence; `require_client=None` makes it one-sided."""
    arguments: dict[str, Any] = {
        "key": SERVER_KEY,
        "issuer": FakeIssuer(),
        "require_client": lambda: ([FakeValidator()], "state"),
        "clock": clock,
        **changes,
    }
    return ServerSession(**arguments)


def client_session(**changes: Any) -> ClientSession:
    """Return a client with good evidence that demands good evidence."""
    arguments: dict[str, Any] = {
        "validators": [FakeValidator()],
        "issuer": FakeIssuer(),
        "client_key": None,
        "clock": clock,
        **changes,
    }
    return ClientSession(**arguments)


Forge = Callable[[PrivateKey, bytes], x509.Certificate]
"""The key of a certificate and the nonce that its evidence must bind, to the certificate that is presented."""


class ForgingServer(ServerSession):
    """A one-sided server that presents the certificate that `forge` makes for the client's nonce."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        super().__init__(key=new_key(), issuer=None, require_client=None, clock=clock)

    def _on_client_hello(self, connection: SSL.Connection, offered: Sequence[bytes]) -> bytes:
        nonce = select_nonce(offered, connection.get_servername())
        connection.use_certificate(self._forge(self._key, nonce))
        connection.use_privatekey(self._key)
        return ALPN_H2


class ForgingClient(ClientSession):
    """A client that accepts any server and presents the certificate that `forge` makes for the server's nonce."""

    def __init__(self, forge: Forge) -> None:
        self._forge = forge
        super().__init__(validators=None, issuer=None, client_key=new_key(), clock=clock)

    def _present(self, connection: SSL.Connection) -> None:
        assert self._key is not None
        nonce = nonce_from_ca_names(connection.get_client_ca_list(as_cryptography=True))
        connection.use_certificate(self._forge(self._key, nonce))
        connection.use_privatekey(self._key)


@dataclass(kw_only=True)
class Outcome:
    """The result of a handshake: the failures of both sides, and all bytes that the server sent."""

    client_error: Exception | None = None
    server_error: Exception | None = None
    client_done: bool = False
    server_done: bool = False
    server_bytes: bytes = b""

    @property
    def succeeded(self) -> bool:
        return self.client_done and self.server_done


def shake(client: ClientSession, server: ServerSession) -> Outcome:
    """Exchange the messages of two sessions until both are done, or one has failed and the other has its alert."""
    outcome = Outcome()
    to_server, to_client = b"", b""
    for _ in range(4):
        outcome.client_done, outcome.client_error, to_server = _turn(
            client, to_client, done=outcome.client_done, error=outcome.client_error
        )
        outcome.server_done, outcome.server_error, to_client = _turn(
            server, to_server, done=outcome.server_done, error=outcome.server_error
        )
        outcome.server_bytes += to_client
    return outcome


def _turn(
    session: Session, received: bytes, *, done: bool, error: Exception | None
) -> tuple[bool, Exception | None, bytes]:
    if error is not None:
        return done, error, b""
    try:
        if not done:
            done = session.advance(received)
        elif received:
            session.connection.bio_write(received)
            try:
                session.connection.recv(1)
            except SSL.WantReadError:
                pass
            except SSL.Error as err:
                raise session.explain(err) from err
    except Exception as err:  # noqa: BLE001  # the outcome is what is asked for
        error = err
    return done, error, session.pending()


def echo(server: grpc.Server, registry: Registry) -> None:
    """Register /test.Echo/Say (unary) and /test.Echo/Repeat (server streaming)."""

    def say(request: bytes, context: grpc.ServicerContext) -> bytes:
        peer = registry.require(context)
        host_data = peer.evidence.host_data.hex() if peer.evidence else "none"
        spki = peer.public_key_spki.hex() if peer.public_key_spki else "none"
        return b"|".join([request, str(peer.snapshot).encode(), host_data.encode(), spki.encode()])

    def repeat(request: bytes, context: grpc.ServicerContext) -> Any:
        for _ in range(3):
            yield request

    methods: dict[str, Any] = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Repeat": grpc.unary_stream_rpc_method_handler(repeat),
        "Join": grpc.stream_unary_rpc_method_handler(lambda parts, _context: b"".join(parts)),
        "Chat": grpc.stream_stream_rpc_method_handler(lambda parts, _context: parts),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", methods),))


def say(channel: grpc.Channel, request: bytes = b"hello") -> list[bytes]:
    """Call Say; return request, snapshot, host data and key as the server received them."""
    call: Callable[..., bytes] = channel.unary_unary("/test.Echo/Say")
    return call(request, timeout=20).split(b"|")
