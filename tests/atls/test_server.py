import asyncio
import contextlib
import math
import os
import select
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

import contrast_tasks.atls.server
from contrast_tasks.atls.certificate import new_key, spki_der
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.room import FairQueue
from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.atls.service import Limits
from contrast_tasks.atls.session import ServerSession
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.errors import ClusterError, ContrastError
from tests.fakes.atls import (
    HOST_DATA,
    NOW,
    SERVER_KEY,
    FakeIssuer,
    FakeValidator,
    clock,
    echo,
    say,
)

SAY = "/test.Echo/Say"


@contextlib.contextmanager
def serving(**changes: Any) -> Iterator[AtlsServer]:
    arguments: dict[str, Any] = {
        "listen": ("127.0.0.1", 0),
        "issuer": FakeIssuer(),
        "require_client": lambda: ([FakeValidator()], "state"),
        "key": SERVER_KEY,
        "clock": clock,
        **changes,
    }
    with serve(echo, **arguments) as server:
        yield server


def dial(server: AtlsServer, **changes: Any) -> AtlsChannel:
    arguments: dict[str, Any] = {
        "validators": [FakeValidator()],
        "issuer": FakeIssuer(),
        "now": NOW,
        **changes,
    }
    return connect("127.0.0.1", server.port, **arguments)


# A whole record of a handshake, though with one byte of it only.
RECORD = bytes.fromhex("160301000101")


def raw_connection(server: AtlsServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def grpc_socket(server: AtlsServer) -> Path:
    return server._folder / "grpc.sock"


def test_a_handler_sees_who_calls_and_the_state_of_the_handshake() -> None:
    key = new_key()

    with serving() as server, dial(server, client_key=key) as peer:
        answer = say(peer.channel)

    assert answer == [b"hello", b"state", HOST_DATA.hex().encode(), spki_der(key).hex().encode()]
    assert peer.evidence is not None
    assert peer.evidence.host_data == HOST_DATA


def test_on_a_one_sided_listener_a_handler_sees_the_key_or_none() -> None:
    key = new_key()

    with serving(require_client=None) as server:
        with dial(server, issuer=None, client_key=key) as peer:
            with_key = say(peer.channel)
        with dial(server, issuer=None) as peer:
            without = say(peer.channel)

    assert with_key == [b"hello", b"None", b"none", spki_der(key).hex().encode()]
    assert without == [b"hello", b"None", b"none", b"none"]


def test_the_state_is_asked_for_once_per_connection_and_stays() -> None:
    states = iter(["first", "second"])

    with (
        serving(require_client=lambda: ([FakeValidator()], next(states))) as server,
        dial(server) as one,
        dial(server) as two,
    ):
        answers = [say(peer.channel)[1] for peer in (one, two, one)]

    assert answers == [b"first", b"second", b"first"]


def test_all_four_kinds_of_calls_pass() -> None:
    with serving() as server, dial(server) as peer:
        channel = peer.channel
        repeated = list(channel.unary_stream("/test.Echo/Repeat")(b"x", timeout=20))
        joined = channel.stream_unary("/test.Echo/Join")(iter([b"a", b"b"]), timeout=20)
        chatted = list(channel.stream_stream("/test.Echo/Chat")(iter([b"1", b"2"]), timeout=20))

    assert (repeated, joined, chatted) == ([b"x"] * 3, b"ab", [b"1", b"2"])


def test_a_message_of_20_mb_passes_both_ways() -> None:
    content = os.urandom(1024) * 20_000
    options = (("grpc.max_receive_message_length", 2 * len(content)),)

    with serving(options=options) as server, dial(server) as peer:
        answer: bytes = peer.channel.stream_unary("/test.Echo/Join")(iter([content]), timeout=60)

    assert answer == content


def test_calls_of_one_address_wait_for_those_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, gate = threading.Semaphore(0), threading.Event()
    order: list[bytes] = []

    class Told(FairQueue):
        def submit(self, address: str, call: Any) -> Any:
            future = super().submit(address, call)
            asked.release()
            return future

    def answer(request: bytes, _context: Any) -> bytes:
        assert gate.wait(20)
        order.append(request)
        return request

    def register(server: grpc.Server, _registry: Registry) -> None:
        handlers = {"Say": grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", handlers),)
        )

    monkeypatch.setattr(contrast_tasks.atls.server, "FairQueue", Told)
    one_thread = Limits(calls=1)
    arguments = {"issuer": FakeIssuer(), "clock": clock, "limits": one_thread}
    with serve(register, listen=("127.0.0.1", 0), key=SERVER_KEY, **arguments) as server:  # type: ignore[arg-type]  # of several types
        with monkeypatch.context() as elsewhere:
            create = partial(socket.create_connection, source_address=("127.0.0.2", 0))
            elsewhere.setattr(socket, "create_connection", create)
            greedy = dial(server, issuer=None)
        with greedy, dial(server, issuer=None) as modest:
            calls = []
            for peer, text in ((greedy, b"1"), (greedy, b"2"), (greedy, b"3"), (modest, b"other")):
                calls.append(peer.channel.unary_unary(SAY).future(text, timeout=20))
                assert asked.acquire(timeout=20)
            gate.set()
            assert [call.result() for call in calls] == [b"1", b"2", b"3", b"other"]

    assert order == [b"1", b"2", b"other", b"3"]


def test_many_calls_at_a_time_share_one_connection() -> None:
    with serving() as server, dial(server) as peer:
        call = peer.channel.unary_unary(SAY)
        futures = [call.future(b"%d" % number, timeout=20) for number in range(40)]
        answers = [future.result().split(b"|")[0] for future in futures]
        assert len(server.registry) == 1

    assert answers == [b"%d" % number for number in range(40)]


def test_clients_are_told_apart() -> None:
    keys = [new_key() for _ in range(5)]

    with serving() as server, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(dial(server, client_key=key)) for key in keys]
        seen = [say(peer.channel)[3].decode() for peer in peers]

    assert seen == [spki_der(key).hex() for key in keys]


def test_a_deadline_is_kept_through_the_tunnel() -> None:
    started, release = threading.Event(), threading.Event()

    def slow(server: grpc.Server, _registry: Registry) -> None:
        def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
            context.add_callback(release.set)
            started.set()
            release.wait(20)
            return request

        handler = grpc.unary_unary_rpc_method_handler(wait)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),)
        )

    with serve(
        slow, listen=("127.0.0.1", 0), issuer=FakeIssuer(), clock=clock, key=SERVER_KEY
    ) as server:
        with dial(server, issuer=None) as peer, pytest.raises(grpc.RpcError) as caught:
            peer.channel.unary_unary(SAY)(b"x", timeout=0.2)
        # The handler was cancelled, not left to run.
        assert release.wait(20)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert started.is_set()


def test_whoever_comes_to_the_inner_socket_directly_is_refused() -> None:
    with serving() as server, grpc.insecure_channel(f"unix:{grpc_socket(server)}") as channel:
        codes = []
        for method in ("Say", "Repeat", "Join", "Chat"):
            with pytest.raises(grpc.RpcError) as caught:
                _call(channel, method)
            codes.append(caught.value.code())

    assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 4


def test_the_inner_socket_lies_in_a_private_directory_that_goes_away() -> None:
    with serving() as server:
        folder = grpc_socket(server).parent
        mode = stat.S_IMODE(folder.stat().st_mode)

    assert mode == 0o700
    assert not folder.exists()


def test_a_connection_bound_to_a_made_up_name_is_refused() -> None:
    registry = Registry()

    assert registry.find("unix-abstract:atls-" + "00" * 16) is None
    assert registry.find("unix:") is None
    assert registry.find("ipv4:127.0.0.1:1") is None


def test_names_are_random_and_forgotten() -> None:
    registry = Registry()
    identity = PeerIdentity(
        public_key_spki=None, certificate_der=None, evidence=None, snapshot=None
    )
    first, second = registry.add(identity), registry.add(identity)

    assert first != second
    assert registry.find(f"unix-abstract:{first}") is identity
    registry.remove(first)
    registry.remove(first)
    assert registry.find(f"unix-abstract:{first}") is None
    assert len(registry) == 1


def test_nothing_is_left_after_stop() -> None:
    threads = set(threading.enumerate())
    with serving() as server, dial(server) as peer:
        say(peer.channel)
        assert len(server.registry) == 1

    assert len(server.registry) == 0
    assert set(threading.enumerate()) <= threads
    with pytest.raises(OSError, match="refused"):
        raw_connection(server)
    server.stop()


def test_stop_ends_connections_that_are_open_or_stuck_in_the_handshake() -> None:
    with serving() as server:
        peer = dial(server)
        stuck = raw_connection(server)
        stuck.send(b"\x16")
        server.stop()

        assert _closed(stuck)
        with pytest.raises(grpc.RpcError):
            say(peer.channel)
        peer.close()
        stuck.close()


def test_the_registry_forgets_a_peer_that_leaves() -> None:
    left = threading.Event()

    class Watched(Registry):
        def remove(self, name: str) -> None:
            super().remove(name)
            left.set()

    with serving() as server:
        server.registry.remove = Watched.remove.__get__(server.registry)  # type: ignore[method-assign]  # to wait without polling
        server.registry.__class__ = Watched
        with dial(server) as peer:
            say(peer.channel)
        assert left.wait(20)
        assert len(server.registry) == 0


def hello_of_tls_1_2() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="coordinator")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_a_refused_handshake_is_reported_and_closes_the_connection(
    host: str, shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[Exception] = []
    counted = threading.Event()

    def on_refused(error: Exception) -> None:
        refused.append(error)
        counted.set()

    with serving(on_refused=on_refused, listen=(host, 0)) as server:
        with socket.create_connection((host, server.port), timeout=20) as peer:
            port = peer.getsockname()[1]
            peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
            answer = b"".join(iter(lambda: peer.recv(100), b""))
        assert counted.wait(20)

    assert isinstance(refused[0], HandshakeFailed)
    assert f"refused {shown}:{port}: " in caplog.text
    assert answer[:1] in {b"\x15", b""}
    assert len(answer) <= 7


def test_a_refusal_is_reported_before_the_peer_hears_of_it() -> None:
    arrived: list[bytes] = []

    def on_refused(_error: Exception) -> None:
        # On the terminator's thread: what has been sent by now stands at the other end of the loopback.
        arrived.append(bytes(1) if select.select([peer], [], [], 0)[0] else b"")

    with serving(on_refused=on_refused) as server, raw_connection(server) as peer:
        peer.sendall(hello_of_tls_1_2())
        answer = b"".join(iter(lambda: peer.recv(100), b""))

    assert arrived == [b""]
    assert answer[:1] == b"\x15"


def test_a_silent_peer_is_closed_when_the_handshake_time_is_over() -> None:
    with serving(limits=Limits(handshake_s=0.05)) as server, raw_connection(server) as peer:
        assert peer.recv(10) == b""


def test_a_peer_that_trickles_is_closed_when_the_handshake_time_is_over() -> None:
    with serving(limits=Limits(handshake_s=0.05)) as server, raw_connection(server) as peer:
        peer.sendall(bytes.fromhex("160301010001"))

        assert peer.recv(10) == b""


@pytest.mark.parametrize("limits", [Limits(connections=1), Limits(handshakes=1)])
def test_above_the_limit_a_connection_is_closed_at_once(limits: Limits) -> None:
    entered = threading.Event()

    def hold() -> Any:
        entered.set()
        return [FakeValidator()], None

    with serving(limits=limits, require_client=hold) as server, raw_connection(server) as first:
        first.sendall(RECORD)
        assert entered.wait(20)
        with raw_connection(server) as second:
            assert _closed(second)
    assert server.port


def test_a_handshake_that_stalls_makes_room_for_a_new_connection() -> None:
    refused: list[Exception] = []
    limits = Limits(handshakes=1, stalled_s=0)

    with (
        serving(limits=limits, on_refused=refused.append) as server,
        raw_connection(server) as silent,
    ):
        with dial(server) as peer:
            assert say(peer.channel)

        assert _closed(silent)

    assert [str(error) for error in refused] == ["the peer stalled while others waited"]


def test_single_bytes_that_lead_to_no_answer_are_no_progress() -> None:
    """Found with 256 connections that send a byte every 0.45 s: nobody else could connect."""
    steps: list[int] = []
    taken = threading.Semaphore(0)

    class Slow(ServerSession):
        def advance(self, received: bytes) -> bool:
            steps.append(len(received))
            taken.release()
            return False

    with serving() as server, raw_connection(server) as slow:
        service = server._terminator._service
        service.new_session = partial(Slow, **service.new_session.keywords)
        moments = set()
        for piece in (RECORD, *[b"\x16"] * 4):
            slow.sendall(piece)
            assert taken.acquire(timeout=20)
            moments |= waiting_since(server)

    assert len(steps) == 5
    assert len(moments - {math.inf}) == 1


def waiting_since(server: AtlsServer) -> set[float]:
    """Return since when each handshake waits, once no step runs."""

    async def look() -> set[float]:
        while True:
            found = {link.waits_since for link in server._terminator._service.handshaking}
            if math.inf not in found:
                return found
            await asyncio.sleep(0)

    return asyncio.run_coroutine_threadsafe(look(), server._loop).result(20)


def test_no_session_is_made_before_a_record_has_come_whole() -> None:
    made: list[bytes] = []

    with serving(require_client=lambda: made.append(b"") or ([FakeValidator()], None)) as server:
        for junk in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"\x16\x03\x01\xff\xff",
            b"\x15\x03\x01\x00\x02\x01\x00",
        ):
            with raw_connection(server) as link:
                link.sendall(junk)
                assert _closed(link)
        with raw_connection(server) as link:
            link.sendall(RECORD[:-1])
            link.shutdown(socket.SHUT_WR)
            assert _closed(link)
        assert made == []


def test_who_holds_many_handshakes_loses_one_to_another_address() -> None:
    limits = Limits(handshakes=4, stalled_s=20)

    with contextlib.ExitStack() as stack:
        server = stack.enter_context(serving(limits=limits))
        greedy = [
            stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", server.port), timeout=20, source_address=(address, 0)
                )
            )
            for address in ("127.0.0.2", "127.0.0.2", "127.0.0.2", "127.0.0.3")
        ]
        with dial(server) as peer:
            assert say(peer.channel)

        assert _closed(greedy[0])


def test_an_idle_connection_makes_room_for_a_new_one() -> None:
    refused: list[Exception] = []
    limits = Limits(connections=1, idle_s=0)

    with serving(limits=limits, on_refused=refused.append) as server, dial(server) as idle:
        assert say(idle.channel)
        with dial(server) as peer:
            assert say(peer.channel)

    assert refused == []


def test_a_handshake_whose_step_takes_long_does_not_count_as_stalled() -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> Any:
        entered.set()
        assert leave.wait(20)
        return [FakeValidator()], None

    limits = Limits(handshakes=1, stalled_s=0)
    with serving(limits=limits, require_client=hold) as server, raw_connection(server) as first:
        first.sendall(RECORD)
        assert entered.wait(20)
        with raw_connection(server) as second:
            assert _closed(second)
        leave.set()


def test_a_peer_that_floods_before_its_handshake_is_held_back() -> None:
    limits = Limits(hello_bytes=1024, handshake_s=0.2)

    with serving(limits=limits) as server, raw_connection(server) as peer:
        peer.sendall(bytes.fromhex("1603010200") + bytes(100))

        assert peer.recv(100)[:1] in {b"", b"\x15"}


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        threads = set(threading.enumerate())

        with pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            serve(echo, listen=("127.0.0.1", port), issuer=None)

    assert caught.value.exit_code == 30
    assert "use" in str(caught.value)
    assert set(threading.enumerate()) <= threads


def test_an_address_that_does_not_exist_is_named() -> None:
    with pytest.raises(ClusterError, match=r"cannot listen on 192\.0\.2\.1:0"):
        serve(echo, listen=("192.0.2.1", 0), issuer=None)


def test_handlers_that_cannot_be_registered_leave_nothing_behind() -> None:
    def broken(_server: grpc.Server, _registry: Registry) -> None:
        raise ContrastError("no such service")

    threads = set(threading.enumerate())

    with pytest.raises(ContrastError, match="no such service"):
        serve(broken, listen=("127.0.0.1", 0), issuer=None)

    assert set(threading.enumerate()) <= threads


def _closed(peer: socket.socket) -> bool:
    try:
        return peer.recv(10) == b""
    except ConnectionResetError:
        return True


def _call(channel: grpc.Channel, method: str) -> None:
    path = f"/test.Echo/{method}"
    if method == "Say":
        channel.unary_unary(path)(b"x", timeout=20)
    elif method == "Repeat":
        list(channel.unary_stream(path)(b"x", timeout=20))
    elif method == "Join":
        channel.stream_unary(path)(iter([b"x"]), timeout=20)
    else:
        list(channel.stream_stream(path)(iter([b"x"]), timeout=20))
