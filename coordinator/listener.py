"""HTTP for strangers, plain or inside TLS: a request is small and short, and so many at a time.

Every connection carries one request. Who does not send it within seconds, a handshake included, loses the connection; at the
limit of connections each address gets its share. Peers get the texts of `Answers` and nothing else.
"""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from email.message import Message
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Protocol

from contrast_tasks.atls.room import Room, network_of
from contrast_tasks.errors import ClusterError

_REQUEST_S = 5.0
_ANSWER_S = 60.0
# A connection that has waited this long for its peer may be ended in favour of a new one.
_STALLED_S = 1.0
# Before an answer that is being sent counts as stalled.
_SENDING_S = 10.0
_POLL_S = 0.1
_ACCEPT_AT_ONCE = 64
# An answer to a request that was not read to its end may get lost.
_MAX_DRAINED_BYTES = 64 * 1024


Secure = Callable[[socket.socket], tuple[socket.socket, object]]
"""Makes a handshake on a connection, which stays open, and returns what to read and write on, and who the peer is.

Any exception ends the connection without a word.
"""


class Request(NamedTuple):
    """A request that was read; body: empty for methods that are not `Answers.body_methods`; peer: what `Secure` found."""

    method: str
    path: str
    headers: Message
    body: bytes
    peer: object = None


class Answer(NamedTuple):
    """An answer; `rest` follows the body, and is made while it is sent; rest_bytes: of all of it."""

    status: HTTPStatus
    content_type: str
    body: bytes
    rest: Iterable[bytes] = ()
    rest_bytes: int = 0


class Answers(Protocol):
    """What a listener serves."""

    max_body_bytes: int
    body_methods: frozenset[str]

    def answer(self, request: Request) -> Answer:
        """Return the answer; called from several threads."""

    def refuse(self, status: HTTPStatus) -> Answer:
        """Return the answer to what is no request that can be read."""


class HttpListener:
    """Serves `answers` on a TCP address; threads: the most connections at a time. option: how a user moves it elsewhere.

    secure: the handshake that comes before a request; None: there is none.
    """

    def __init__(
        self,
        listen: tuple[str, int],
        answers: Answers,
        *,
        threads: int,
        option: str,
        secure: Secure | None = None,
    ) -> None:
        host, port = listen
        bound = {"answers": answers, "secure": staticmethod(secure or _plain)}
        handler = type("_BoundHandler", (_Handler,), bound)
        try:
            self._server = _Server(listen, handler, threads)
        except OSError as err:
            raise ClusterError(
                f"cannot listen on {host}:{port}: {(err.strerror or str(err)).lower()}",
                hint=f"stop what uses the port, or choose another with {option}",
            ) from err
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            name=f"http-{self.port}",
            kwargs={"poll_interval": _POLL_S},
        )

    @property
    def port(self) -> int:
        """Return the port that is listened on."""
        port: int = self._server.server_address[1]
        return port

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering, close every connection and release the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.end_all()


class _Life:
    """One connection: whose it is, since when it waits for its peer (infinity: it does not), and when it ends at the latest.

    Times are seconds of the monotonic clock.
    """

    def __init__(self, request: socket.socket, address: str) -> None:
        self.request = request
        self.address = address
        self.waits_since = time.monotonic()
        self.ends_at = self.waits_since + _REQUEST_S

    def begin_answer(self) -> None:
        self.waits_since = float("inf")
        self.ends_at = time.monotonic() + _ANSWER_S

    def begin_sending(self) -> None:
        self.waits_since = time.monotonic() + _SENDING_S


class _Server(ThreadingHTTPServer):
    # What does not fit has to try again, after a second at the earliest; the kernel may allow less.
    request_queue_size = 4096

    def __init__(self, listen: tuple[str, int], handler: type["_Handler"], threads: int) -> None:
        self.address_family = socket.getaddrinfo(*listen, type=socket.SOCK_STREAM)[0][0]
        self._lives: dict[socket.socket, _Life] = {}
        self._room: Room[_Life] = Room(
            threads, since=lambda life: life.waits_since, patience_s=_STALLED_S
        )
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(threads, thread_name_prefix="http")
        super().__init__(listen, handler)

    def server_bind(self) -> None:
        """Bind without asking for the host's name, which the base class does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.socket.setblocking(False)  # noqa: FBT003  # the socket API has it so
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, or close the connection if there are too many."""
        if not self._admit(_Life(request, network_of(client_address[0]))):
            self.shutdown_request(request)
            return
        # Threads are kept: to start one takes long while others are busy.
        self._workers.submit(self.process_request_thread, request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection and forget it."""
        with self._lock:
            if (life := self._lives.get(request)) is not None:
                self._forget(life)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Accept what else is waiting, and end the connections whose time is over; called with every turn of the loop."""
        with contextlib.suppress(OSError):
            for _ in range(_ACCEPT_AT_ONCE):
                self.process_request(*self.get_request())
        now = time.monotonic()
        with self._lock:
            late = [request for request, life in self._lives.items() if life.ends_at <= now]
        for request in late:
            _end(request)

    def end_all(self) -> None:
        """End all connections; their threads end with them."""
        self._workers.shutdown(wait=False)
        with self._lock:
            every = list(self._lives)
        for request in every:
            _end(request)

    def life_of(self, request: socket.socket) -> _Life | None:
        """Return the life of a connection, None if it was ended."""
        with self._lock:
            return self._lives.get(request)

    def _admit(self, life: _Life) -> bool:
        def leave(other: _Life) -> None:
            self._forget(other)
            _end(other.request)

        with self._lock:
            if not self._room.make_place(life.address, time.monotonic(), leave):
                return False
            self._room.add(life)
            self._lives[life.request] = life
            return True

    def _forget(self, life: _Life) -> None:
        self._room.discard(life)
        del self._lives[life.request]

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that hangs up."""


def _plain(link: socket.socket) -> tuple[socket.socket, object]:
    return link, None


def _end(request: socket.socket) -> None:
    # The thread of the connection closes it; until then its reads and writes end at once.
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    answers: Answers
    secure: Secure
    timeout = _REQUEST_S
    server: _Server

    def setup(self) -> None:
        """Make the handshake, whose time is that of the request."""
        self._link = self.request
        self._link.settimeout(self.timeout)
        self.request, self._peer = self.secure(self._link)
        super().setup()

    def finish(self) -> None:
        """Say that the connection ends here, without waiting for the peer to say so too."""
        super().finish()
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(0)
            with contextlib.suppress(OSError, ValueError):
                self.request.unwrap()
            self.request.close()

    def version_string(self) -> str:
        """Return the header Server, without the version of Python."""
        return "coordinator"

    def __getattr__(self, name: str) -> Any:
        """Take any method; which ones exist is up to the answers."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        body = b""
        if self.command in self.answers.body_methods:
            status, length = self._length()
            if status is not None:
                self._drain(length)
                self._send(self.answers.refuse(status))
                return
            body = self.rfile.read(length)
            if len(body) != length:
                return
        life = self.server.life_of(self._link)
        if life is None:
            return
        life.begin_answer()
        self.connection.settimeout(_ANSWER_S)
        path = self.path.partition("?")[0]
        answer = self.answers.answer(Request(self.command, path, self.headers, body, self._peer))
        life.begin_sending()
        self._send(answer)

    def _length(self) -> tuple[HTTPStatus | None, int]:
        """Return what is wrong with the length of the body, None if it may be read, and the length."""
        given = self.headers.get_all("Content-Length", [])
        if not given or "Transfer-Encoding" in self.headers:
            return HTTPStatus.LENGTH_REQUIRED, 0
        text = given[0].strip()
        if len(given) > 1 or not (text.isascii() and text.isdecimal()):
            return HTTPStatus.BAD_REQUEST, 0
        # Python refuses to read thousands of digits.
        length = int(text[:20])
        if length > self.answers.max_body_bytes:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE, length
        return None, length

    def _drain(self, length: int) -> None:
        if length <= _MAX_DRAINED_BYTES:
            self.rfile.read(length)

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) + answer.rest_bytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
            for part in answer.rest:
                self.wfile.write(part)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what cannot be parsed; the base class would repeat it."""
        del message, explain
        self.close_connection = True
        # What cannot be parsed counts as HTTP/0.9, whose answers have no status.
        self.request_version = "HTTP/1.0"
        self._send(self.answers.refuse(HTTPStatus(code)))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's signature
        """Log nothing: there is a probe every second."""
