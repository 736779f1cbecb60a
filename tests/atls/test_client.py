import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest

from contrast_tasks.atls.certificate import new_key
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    EvidenceMissing,
    HandshakeFailed,
    OwnEvidenceRefused,
)
from contrast_tasks.atls.server import serve
from contrast_tasks.errors import CoordinatorUnreachable, EvidenceRejected, UsageError
from contrast_tasks.evidence_documents import OID_TDX
from tests.fakes.atls import (
    NOW,
    SERVER_KEY,
    BrokenIssuer,
    FakeIssuer,
    FakeValidator,
    clock,
    echo,
    say,
)


@contextlib.contextmanager
def listener(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """Accept one connection, let `talk` misbehave on it, and close it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def run() -> None:
            with contextlib.suppress(OSError):
                peer, _ = server.accept()
                with peer:
                    talk(peer)

        thread = threading.Thread(target=run)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@pytest.fixture(scope="module")
def mutual() -> Iterator[int]:
    with serve(
        echo,
        listen=("127.0.0.1", 0),
        issuer=FakeIssuer(),
        require_client=lambda: ([FakeValidator()], "state"),
        key=SERVER_KEY,
        clock=clock,
    ) as server:
        yield server.port


@pytest.fixture(scope="module")
def one_sided() -> Iterator[int]:
    with serve(
        echo, listen=("127.0.0.1", 0), issuer=FakeIssuer(), key=SERVER_KEY, clock=clock
    ) as server:
        yield server.port


def dial(port: int, **changes: Any) -> AtlsChannel:
    arguments: dict[str, Any] = {
        "validators": [FakeValidator()],
        "now": NOW,
        "timeout_s": 20,
        **changes,
    }
    return connect("127.0.0.1", port, **arguments)


def tunnels() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "atls-tunnel"]


@pytest.mark.parametrize("by_alpn", [False, True], ids=["server name", "alpn"])
def test_a_channel_to_an_accepted_server_works(one_sided: int, by_alpn: bool) -> None:
    with dial(one_sided, nonce_in_alpn=by_alpn) as peer:
        assert say(peer.channel)[0] == b"hello"
        assert peer.refusal is None


@pytest.mark.parametrize(
    ("validator", "error"),
    [
        (FakeValidator(host_data=bytes(32)), EvidenceRejected),
        (FakeValidator(oid=OID_TDX), EvidenceMissing),
    ],
)
def test_an_unacceptable_server_is_a_typed_error(
    one_sided: int, validator: FakeValidator, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        dial(one_sided, validators=[validator])

    assert getattr(caught.value, "exit_code", 0) == 41


def test_the_given_instant_is_the_one_that_counts(one_sided: int) -> None:
    with pytest.raises(BadPeerCertificate, match="2026-06-02T12:00:00Z"):
        dial(one_sided, now=NOW + timedelta(days=1))


def test_an_unverified_connection_has_to_be_asked_for_twice(one_sided: int) -> None:
    with pytest.raises(ValueError, match="unverified=True"):
        dial(one_sided, validators=None)
    with pytest.raises(ValueError, match="unverified=True"):
        dial(one_sided, unverified=True)
    with dial(one_sided, validators=None, unverified=True) as peer:
        assert peer.evidence is None
        assert say(peer.channel)[0] == b"hello"


@pytest.mark.parametrize(
    "issuer", [FakeIssuer(host_data=bytes(32)), FakeIssuer(oid=OID_TDX)], ids=["guest", "type"]
)
def test_evidence_that_the_server_refuses_is_a_typed_error(mutual: int, issuer: Any) -> None:
    with pytest.raises(OwnEvidenceRefused, match="unknown ca") as caught:
        dial(mutual, issuer=issuer)

    assert caught.value.exit_code == 41
    assert "peer's log" in caught.value.hint


def test_without_evidence_a_mutual_server_ends_the_connection(mutual: int) -> None:
    with dial(mutual) as peer:
        with pytest.raises(grpc.RpcError) as caught:
            say(peer.channel)
        refusal = peer.refusal

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert isinstance(refusal, OwnEvidenceRefused)
    assert "certificate required" in str(refusal)


def test_an_issuer_that_fails_is_the_callers_error(mutual: int) -> None:
    with pytest.raises(OSError, match="device"):
        dial(mutual, issuer=BrokenIssuer())


def test_a_server_that_is_not_ready_is_unreachable() -> None:
    def not_ready() -> Any:
        raise RuntimeError("no manifest")

    with (
        serve(
            echo,
            listen=("127.0.0.1", 0),
            issuer=FakeIssuer(),
            require_client=not_ready,
            clock=clock,
        ) as server,
        pytest.raises(HandshakeFailed, match="handshake failure") as caught,
    ):
        dial(server.port, issuer=FakeIssuer())

    assert caught.value.exit_code == 40


def test_nobody_listening_is_unreachable() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]

        with pytest.raises(CoordinatorUnreachable, match=f"127.0.0.1:{port}: connection refused"):
            dial(port)


def test_without_unix_sockets_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")

    with pytest.raises(UsageError, match="needs a Unix socket") as caught:
        connect("127.0.0.1", 1, validators=None, unverified=True, now=NOW)

    assert "-c http://HOST:1314" in caught.value.hint


def test_a_server_that_says_nothing_is_given_up() -> None:
    def talk(peer: socket.socket) -> None:
        while peer.recv(10_000):
            pass

    with listener(talk) as port, pytest.raises(HandshakeFailed, match="handshake in time"):
        dial(port, timeout_s=0.1)


def test_a_server_that_closes_at_once_is_unreachable() -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(10_000)

    with listener(talk) as port, pytest.raises(HandshakeFailed, match=r"closed the conn|broke off"):
        dial(port)


def test_a_server_that_speaks_plain_http_is_unreachable() -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(10_000)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with listener(talk) as port, pytest.raises(HandshakeFailed, match="handshake failed"):
        dial(port)


def test_a_channel_does_not_reconnect_behind_the_callers_back(one_sided: int) -> None:
    with dial(one_sided) as peer:
        assert say(peer.channel)[0] == b"hello"
        peer._tunnel.close()

        for _ in range(2):
            with pytest.raises(grpc.RpcError) as caught:
                say(peer.channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nothing_is_left_after_close(one_sided: int) -> None:
    peer = dial(one_sided)
    path = peer._tunnel.path
    say(peer.channel)
    peer.close()
    peer.close()

    assert tunnels() == []
    assert not path.parent.exists()


def test_a_channel_that_is_never_used_leaves_nothing_either(mutual: int) -> None:
    with dial(mutual, issuer=FakeIssuer()):
        assert len(tunnels()) == 1

    assert tunnels() == []


def test_a_lost_connection_is_told(one_sided: int) -> None:
    with dial(one_sided) as peer:
        say(peer.channel)
        peer._tunnel._link.shutdown(socket.SHUT_RDWR)
        with pytest.raises(grpc.RpcError):
            say(peer.channel)
        peer._tunnel._thread.join(20)

        assert isinstance(peer.refusal, HandshakeFailed)


def test_the_callers_key_is_the_certified_one(mutual: int) -> None:
    from contrast_tasks.atls.certificate import spki_der

    key = new_key()

    with dial(mutual, issuer=FakeIssuer(), client_key=key) as peer:
        assert say(peer.channel)[3] == spki_der(key).hex().encode()
