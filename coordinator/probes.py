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

from coordinator.listener import Answer, HttpListener, Request
from coordinator.state import Status

_READY = frozenset({"active", "final"})
# The kubelet asks one probe at a time, and Prometheus reads the metrics; the rest is for whoever else can reach the port.
_THREADS = 64


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
        metrics: Callable[[], str] | None = None,
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
            text = self._metrics().encode()
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


class ProbeServer(HttpListener):
    """Serves probes on a TCP address from threads of its own."""

    def __init__(self, host: str, port: int, probes: Probes) -> None:
        super().__init__((host, port), _Methods(probes), threads=_THREADS, option="--http")


class _Methods:
    """Answers GET and HEAD for probes."""

    max_body_bytes = 0
    body_methods = frozenset({"POST"})

    def __init__(self, probes: Probes) -> None:
        self._probes = probes

    def answer(self, request: Request) -> Answer:
        """Return the answer of the probes."""
        if request.method not in ("GET", "HEAD"):
            return self.refuse(HTTPStatus.NOT_IMPLEMENTED)
        return self._probes.answer(request.path)

    def refuse(self, status: HTTPStatus) -> Answer:
        """Return an answer of a few words."""
        return _json(status, {"status": status.phrase.lower()})


def _json(status: HTTPStatus, document: dict[str, object]) -> Answer:
    return Answer(status, "application/json", json.dumps(document).encode() + b"\n")
