"""Counters for /metrics in the Prometheus text format; small enough to do without a library.

Names and labels: docs/internals/coordinator.md 10.1. All series of a method exist from the start, at 0. Status codes are spelled
as in Go, as dashboards for the reference product expect them: `OK`, `PermissionDenied`.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc

STARTED = "contrast_grpc_server_started_total"
HANDLED = "contrast_grpc_server_handled_total"
RECEIVED = "contrast_grpc_server_msg_received_total"
SENT = "contrast_grpc_server_msg_sent_total"
SECONDS = "contrast_grpc_server_handling_seconds"
ATTESTATION_FAILURES = "contrast_meshapi_attestation_failures_total"
TRANSIT_REQUESTS = "contrast_transit_requests_total"
GENERATION = "contrast_coordinator_manifest_generation"
STATE = "contrast_coordinator_state"

# Name, type and meaning, in the order of the exposition.
_FAMILIES = (
    (GENERATION, "gauge", "manifests set so far, 0 for none"),
    (STATE, "gauge", "1 for the state the coordinator is in"),
    (HANDLED, "counter", "calls completed, by status code"),
    (SECONDS, "histogram", "how long calls took"),
    (RECEIVED, "counter", "messages received"),
    (SENT, "counter", "messages sent"),
    (STARTED, "counter", "calls started"),
    (ATTESTATION_FAILURES, "counter", "handshakes refused by the mesh api"),
    (TRANSIT_REQUESTS, "counter", "requests to the transit engine, by operation and http status"),
)
_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0)
_Labels = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Histogram:
    """How many observations fell into each bucket, the last one being everything above, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    sum_s: float = 0.0

    def lines(self, labels: _Labels) -> Iterable[str]:
        total = 0
        for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            yield _line(f"{SECONDS}_bucket", (*labels, ("le", bound.removesuffix(".0"))), total)
        yield _line(f"{SECONDS}_sum", labels, round(self.sum_s, 6))
        yield _line(f"{SECONDS}_count", labels, total)


class Metrics:
    """Counts events; safe to use from any thread. methods: service and name of each."""

    def __init__(self, methods: Sequence[tuple[str, str]] = ()) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[_Labels, int]] = {
            name: {} for name, kind, _ in _FAMILIES if kind == "counter"
        }
        self._seconds: dict[_Labels, _Histogram] = {}
        self._counts[ATTESTATION_FAILURES][()] = 0
        for labels in (_call_labels(service, method) for service, method in methods):
            for name in (STARTED, RECEIVED, SENT):
                self._counts[name][labels] = 0
            for code in grpc.StatusCode:
                self._counts[HANDLED][_with_code(labels, code.name)] = 0
            self._seconds[labels] = _Histogram()

    def count(self, name: str, labels: _Labels = ()) -> None:
        """Add one to a series."""
        with self._lock:
            self._counts[name][labels] = self._counts[name].get(labels, 0) + 1

    def call_started(self, service: str, method: str) -> None:
        """Count a call that arrived with its message."""
        labels = _call_labels(service, method)
        self.count(STARTED, labels)
        self.count(RECEIVED, labels)

    def call_handled(self, service: str, method: str, code: str, seconds: float) -> None:
        """Count a call that was answered; `code` is gRPC's name, as `PERMISSION_DENIED`."""
        labels = _call_labels(service, method)
        self.count(HANDLED, _with_code(labels, code))
        if code == "OK":
            self.count(SENT, labels)
        with self._lock:
            histogram = self._seconds.setdefault(labels, _Histogram())
            histogram.counts[bisect_left(_BUCKETS_S, seconds)] += 1
            histogram.sum_s += seconds

    def render(self, *, generation: int, state: str) -> str:
        """Return the exposition text; `generation` and `state` are read now."""
        now: Mapping[str, Mapping[_Labels, int]] = {
            GENERATION: {(): generation},
            STATE: {(("state", state),): 1},
        }
        lines = []
        with self._lock:
            for name, kind, meaning in _FAMILIES:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
                if kind == "histogram":
                    for labels, histogram in sorted(self._seconds.items()):
                        lines += histogram.lines(labels)
                    continue
                series = now.get(name) or self._counts[name]
                lines += [_line(name, labels, series[labels]) for labels in sorted(series)]
        return "\n".join(lines) + "\n"


def _line(name: str, labels: _Labels, value: float) -> str:
    inner = ",".join(f'{key}="{text}"' for key, text in labels)
    return f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _call_labels(service: str, method: str) -> _Labels:
    return (("grpc_method", method), ("grpc_service", service), ("grpc_type", "unary"))


def _with_code(labels: _Labels, code: str) -> _Labels:
    return (("grpc_code", _go_spelling(code)), *labels)


def _go_spelling(code: str) -> str:
    """Return `PermissionDenied` for `PERMISSION_DENIED`; OK stays, and Go writes Canceled with one l."""
    if code == "OK":
        return code
    return code.title().replace("_", "").replace("Cancelled", "Canceled")
