"""What a stranger can make of a plain HTTP listener: few things, and not for long."""

import socket
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from contrast_tasks.errors import ClusterError
from coordinator import listener
from coordinator.listener import Answer, HttpListener, Request

THREADS = 3
GET = b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n"


class Echo:
    """Answers with the request; a path `/wait` waits for `go`."""

    max_body_bytes = 16
    body_methods = frozenset({"POST"})

    def __init__(self) -> None:
        self.go = threading.Event()
        self.waiting = threading.Semaphore(0)
        self.rest = b" and the rest"

    def answer(self, request: Request) -> Answer:
        if request.path == "/wait":
            self.waiting.release()
            self.go.wait(30)
        body = f"{request.method} {request.path} ".encode() + request.body
        return Answer(HTTPStatus.OK, "text/plain", body, [self.rest], len(self.rest))

    def refuse(self, status: HTTPStatus) -> Answer:
        return Answer(status, "text/plain", b"refused")


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    yield echo
    echo.go.set()


@pytest.fixture
def server(echo: Echo) -> Iterator[HttpListener]:
    server = HttpListener(("127.0.0.1", 0), echo, threads=THREADS, option="--http-api")
    server.start()
    yield server
    server.stop()


def connect(server: HttpListener) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=15)


def everything(link: socket.socket) -> bytes:
    """Return what arrives until the connection ends."""
    received = b""
    try:
        while piece := link.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    finally:
        link.close()
    return received


def ask(server: HttpListener, content: bytes) -> bytes:
    link = connect(server)
    link.sendall(content)
    return everything(link)


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def post(head: str, body: bytes = b"") -> bytes:
    return f"POST /x HTTP/1.1\r\nHost: x\r\n{head}\r\n".encode() + body


def test_an_answer_comes_in_two_parts_and_ends_the_connection(server: HttpListener) -> None:
    answer = ask(server, post("Content-Length: 2\r\n", b"ab"))

    assert answer.endswith(b"\r\n\r\nPOST /x ab and the rest")
    assert b"Content-Length: 23\r\n" in answer
    assert b"Server: coordinator\r\n" in answer


def test_a_second_request_on_a_connection_is_not_read(server: HttpListener) -> None:
    assert ask(server, GET + GET).count(b"HTTP/1.0 200") == 1


def test_head_has_no_body(server: HttpListener) -> None:
    assert ask(server, GET.replace(b"GET", b"HEAD")).endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        pytest.param(post(""), 411, id="no length"),
        pytest.param(post("Transfer-Encoding: chunked\r\n"), 411, id="chunked"),
        pytest.param(
            post("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", b"ab"), 411, id="smuggled"
        ),
        pytest.param(
            post("Content-Length: 2\r\nContent-Length: 3\r\n", b"ab"), 400, id="two lengths"
        ),
        pytest.param(post("Content-Length: -1\r\n"), 400, id="negative"),
        pytest.param(post("Content-Length: +2\r\n", b"ab"), 400, id="a sign"),
        pytest.param(post("Content-Length: 0x2\r\n", b"ab"), 400, id="hex"),
        pytest.param(post("Content-Length: \xb2\r\n"), 400, id="a superscript"),
        pytest.param(post("Content-Length: 17\r\n", b"a" * 17), 413, id="one byte too many"),
        pytest.param(post(f"Content-Length: {'9' * 6000}\r\n"), 413, id="a long number"),
        pytest.param(b"NONSENSE\r\n\r\n", 400, id="no request"),
        pytest.param(b"GET /x HTTP/9.9\r\n\r\n", 505, id="a version"),
        pytest.param(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 414, id="a long path"),
        pytest.param(GET[:-2] + b"A: b\r\n" * 200 + b"\r\n", 431, id="many headers"),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_repeated(
    server: HttpListener, content: bytes, wanted: int
) -> None:
    answer = ask(server, content)

    assert status_of(answer) == wanted
    assert answer.endswith(b"\r\n\r\nrefused")


def test_who_sends_nothing_loses_the_connection(
    server: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_REQUEST_S", 0.2)

    assert everything(connect(server)) == b""


def test_who_sends_one_byte_now_and_then_loses_it_too(
    server: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_REQUEST_S", 0.3)
    link = connect(server)
    lost = threading.Event()

    def drip() -> None:
        try:
            while not lost.wait(0.02):
                link.sendall(b"G")
        except OSError:
            lost.set()

    thread = threading.Thread(target=drip)
    thread.start()

    assert lost.wait(10)
    thread.join()
    link.close()


def test_a_body_that_does_not_come_is_not_waited_for(
    server: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_REQUEST_S", 0.2)

    assert ask(server, post("Content-Length: 9\r\n", b"ab")) == b""


def test_a_stalled_connection_makes_room_for_a_new_one(
    server: HttpListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._server._room, "_patience_s", 0.0)
    silent = [connect(server) for _ in range(20)]

    assert status_of(ask(server, GET)) == 200

    for link in silent:
        link.close()


def test_one_address_keeps_no_other_out(server: HttpListener) -> None:
    """Neither by many connections that stall, of which the oldest goes, nor by all places."""
    place = ("127.0.0.1", server.port)
    greedy = [
        socket.create_connection(place, timeout=15, source_address=("127.0.0.2", 0))
        for _ in range(3 * THREADS)
    ]

    for _ in range(THREADS):
        assert status_of(ask(server, GET)) == 200

    for link in greedy:
        link.close()


def test_at_the_limit_of_requests_a_new_one_is_closed_at_once(
    server: HttpListener, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._server._room, "_patience_s", 0.0)
    busy = [connect(server) for _ in range(THREADS)]
    for link in busy:
        link.sendall(GET.replace(b"/x", b"/wait"))
        assert echo.waiting.acquire(timeout=10)

    assert ask(server, GET) == b""

    echo.go.set()
    assert [status_of(everything(link)) for link in busy] == [200] * THREADS
    assert status_of(ask(server, GET)) == 200


def test_who_does_not_read_the_answer_makes_room_too(
    server: HttpListener, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server._server._room, "_patience_s", 0.0)
    monkeypatch.setattr(listener, "_SENDING_S", 0.0)
    echo.rest = bytes(64 * 1024 * 1024)
    deaf = [connect(server) for _ in range(THREADS)]
    for link in deaf:
        link.sendall(GET)
        # The answer has begun, and its end does not fit into any buffer.
        assert link.recv(1)

    echo.rest = b""
    assert status_of(ask(server, GET)) == 200

    for link in deaf:
        link.close()


def test_there_are_never_more_threads_than_allowed(server: HttpListener, echo: Echo) -> None:
    before = threading.active_count()
    links = [connect(server) for _ in range(40)]
    for link in links[:THREADS]:
        link.sendall(GET.replace(b"/x", b"/wait"))
        echo.waiting.acquire(timeout=10)

    assert threading.active_count() <= before + THREADS

    for link in links:
        link.close()


def test_stopping_ends_open_connections(echo: Echo) -> None:
    server = HttpListener(("127.0.0.1", 0), echo, threads=THREADS, option="--http-api")
    server.start()
    link = connect(server)
    link.sendall(GET.replace(b"/x", b"/wait"))
    assert echo.waiting.acquire(timeout=10)

    server.stop()

    assert everything(link) == b""
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_a_port_in_use_is_an_error_that_names_option_and_port(
    server: HttpListener, echo: Echo
) -> None:
    with pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{server.port}") as caught:
        HttpListener(("127.0.0.1", server.port), echo, threads=1, option="--http-api")

    assert caught.value.exit_code == 30
    assert "--http-api" in caught.value.hint


def test_an_address_of_ipv6_is_listened_on(echo: Echo) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    server = HttpListener(("::1", 0), echo, threads=1, option="--http-api")
    server.start()

    link = socket.create_connection(("::1", server.port), timeout=5)
    link.sendall(GET)

    assert status_of(everything(link)) == 200
    server.stop()
