"""The probes for the kubelet, and /metrics when switched on: plain HTTP, no secrets, no side effects.

    /probe/startup     200 when both APIs listen
    /probe/liveness    200 while this process' threads run; the store does not count, as a restart would lose the seed
    /probe/readiness   200 when there is a state that can be served

Bodies are JSON: status, reason, generation, since (when this status was first seen). Source: docs/internals/coordinator.md 9.
"""

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from contrast_tasks.errors import ClusterError
from coordinator.state import Status

_READY = frozenset({"active", "final"})
_REQUEST_TIMEOUT_S = 5.0


class Answer(NamedTuple):
    """An HTTP answer of the probe server."""

    status: HTTPStatus
    content_type: str
    body: bytes


class Probes:
    """Answers probe paths; independent of HTTP.

    status: `Guard.status`. is_started, is_alive: of the process. metrics: renders /metrics, None switches it off.
    """

    def __init__(
        self,
        *,
        status: Callable[[], Status],
        is_started: Callable[[], bool],
        is_alive: Callable[[], bool],
        now: Callable[[], datetime],
        metrics: Callable[[Status], str] | None = None,
    ) -> None:
        self._status = status
        self._checks: dict[str, Callable[[Status], bool]] = {
            "/probe/startup": lambda _status: is_started(),
            "/probe/liveness": lambda _status: is_alive(),
            "/probe/readiness": lambda status: status.name in _READY,
        }
        self._metrics = metrics
        self._now = now
        self._lock = threading.Lock()
        self._seen: tuple[Status, datetime] | None = None

    def answer(self, path: str) -> Answer:
        """Return the answer for a request path."""
        if path == "/metrics" and self._metrics is not None:
            text = self._metrics(self._status()).encode()
            return Answer(HTTPStatus.OK, "text/plain; version=0.0.4", text)
        check = self._checks.get(path)
        if check is None:
            return _json(HTTPStatus.NOT_FOUND, {"status": "unknown path"})
        status = self._status()
        code = HTTPStatus.OK if check(status) else HTTPStatus.SERVICE_UNAVAILABLE
        since = self._since(status).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"reason": status.reason, "generation": status.generation, "since": since}
        return _json(code, {"status": status.name, **told})

    def _since(self, status: Status) -> datetime:
        with self._lock:
            if self._seen is None or self._seen[0] != status:
                self._seen = (status, self._now())
            return self._seen[1]


class ProbeServer:
    """Serves probes on a TCP address from a thread of its own."""

    def __init__(self, host: str, port: int, probes: Probes) -> None:
        handler = type("_BoundHandler", (_Handler,), {"probes": probes})
        try:
            self._server = _Server((host, port), handler)
        except OSError as err:
            raise ClusterError(
                f"cannot listen on {host}:{port}: {(err.strerror or str(err)).lower()}",
                hint="stop what uses the port, or choose another with --http",
            ) from err
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="probes", kwargs={"poll_interval": 0.1}
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
        """Stop answering and release the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    probes: Probes
    timeout = _REQUEST_TIMEOUT_S
    server_version = "coordinator"
    sys_version = ""

    def do_GET(self) -> None:  # http.server's spelling
        answer = self.probes.answer(self.path.partition("?")[0])
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815  # http.server's spelling

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # http.server's signature
        """Log nothing: there is a probe every second."""


def _json(status: HTTPStatus, document: dict[str, object]) -> Answer:
    return Answer(status, "application/json", json.dumps(document).encode() + b"\n")
