"""What the four processes share: settings from the environment, listening, stopping on SIGTERM."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import NoReturn

import grpc

STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})
GRACE_S = 2.0
HIGHEST_PORT = 65_535


def fail(message: str) -> NoReturn:
    """End the process with one line on stderr and status 1."""
    print(f"{_program()}: {message}", file=sys.stderr, flush=True)
    sys.exit(1)


def say(message: str) -> None:
    """Print one line at once; a pod's log is a pipe, which Python would buffer."""
    print(f"{_program()}: {message}", flush=True)


def _program() -> str:
    return os.path.basename(sys.argv[0])  # noqa: PTH119  # a name, not a path


def required(name: str) -> str:
    """Return an environment variable that has no sensible default."""
    return os.environ.get(name) or fail(f"environment variable {name} is not set")


def port(name: str, *, default: int | None = None) -> int:
    """Return a TCP port from the environment."""
    text = os.environ.get(name, "" if default is None else str(default))
    if not text.isascii() or not text.isdecimal() or not 0 < int(text) <= HIGHEST_PORT:
        fail(f"environment variable {name} wants a port from 1 to {HIGHEST_PORT}, found {text!r}")
    return int(text)


def bind_address() -> str:
    """Return the address to listen on; a proxy in front of us may want us on one of our own."""
    return os.environ.get("BIND_ADDRESS") or "0.0.0.0"


def block_stop_signals() -> None:
    """Keep SIGTERM and SIGINT for `wait_for_stop`; call it before any thread starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)


def wait_for_stop(timeout_s: float | None = None) -> bool:
    """Wait until asked to stop; False when `timeout_s` passed first."""
    if timeout_s is None:
        signal.sigwait(STOP_SIGNALS)
        return True
    return signal.sigtimedwait(STOP_SIGNALS, timeout_s) is not None


class Counters:
    """Counts by name, in the Prometheus text format."""

    def __init__(self, metric: str, label: str) -> None:
        self._metric = metric
        self._label = label
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}

    def add(self, value: str) -> None:
        with self._lock:
            self._counts[value] = self._counts.get(value, 0) + 1

    def snapshot(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def render(self) -> str:
        lines = [f"# TYPE {self._metric} counter"]
        counts = sorted(self.snapshot().items())
        lines += [f'{self._metric}{{{self._label}="{value}"}} {count}' for value, count in counts]
        return "\n".join(lines) + "\n"


class Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with a Content-Length on every answer; subclasses define do_GET."""

    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds an idle connection is kept
    # A page needs nothing from elsewhere, and nobody else may frame it.
    extra_headers = (
        ("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'"),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    )

    def respond(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in self.extra_headers:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:  # http.server's name
        self.do_GET()

    def do_GET(self) -> None:  # http.server's name
        raise NotImplementedError

    def version_string(self) -> str:
        return "emojivoto"

    def log_message(self, *_: object) -> None:
        """Log no requests: the host can read a confidential pod's output."""


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, *_: object) -> None:
        """Say nothing: a client that went away is no news."""


@contextlib.contextmanager
def http_server(port_number: int, handler: type[Handler]) -> Iterator[None]:
    """Serve HTTP in the background on the bind address."""
    host = bind_address()
    try:
        server = _Server((host, port_number), handler)
    except OSError as error:
        fail(f"cannot listen on {host}:{port_number}: {error.strerror}")
    thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def grpc_server(port_number: int, add_services: Callable[[grpc.Server], None]) -> Iterator[None]:
    """Serve gRPC in the background on the bind address."""
    # Two processes sharing a port would each see half of the votes.
    options = [("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(max_workers=8), options=options)
    add_services(server)
    where = f"{bind_address()}:{port_number}"
    try:
        bound = server.add_insecure_port(where)
    except RuntimeError:
        bound = 0
    if not bound:
        fail(f"cannot listen on {where}")
    server.start()
    try:
        yield
    finally:
        server.stop(GRACE_S).wait()


def serve_metrics(counters: Counters) -> contextlib.AbstractContextManager[None]:
    """Serve the counters at /metrics on PROM_PORT; nothing when that is not set."""
    if not os.environ.get("PROM_PORT"):
        return contextlib.nullcontext()

    class Metrics(Handler):
        def do_GET(self) -> None:  # http.server's name
            if self.path.split("?")[0] == "/metrics":
                self.respond(200, "text/plain; version=0.0.4", counters.render().encode())
            else:
                self.respond(404, "text/plain", b"metrics are at /metrics\n")

    return http_server(port("PROM_PORT"), Metrics)
