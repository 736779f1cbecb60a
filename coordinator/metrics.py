"""Counters and gauges for /metrics in the Prometheus text format; small enough to do without a library.

Names and labels: docs/internals/coordinator.md 10.1. All series of a method exist from the start, at 0. Status codes are spelled
as in Go, as dashboards for the reference product expect them: `OK`, `PermissionDenied`.
"""

import os
import resource
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import grpc

if TYPE_CHECKING:
    from coordinator.state import Guard

Labels = tuple[tuple[str, str], ...]
Gauges = Mapping[str, Mapping[Labels, float]]
STATES = ("initial", "active", "final", "recovery", "stale", "inconsistent", "unknown")


class Family(NamedTuple):
    """One metric: its name, type and meaning, and the labels of its series."""

    name: str
    kind: str
    meaning: str
    labels: tuple[str, ...] = ()


_CALL = ("grpc_method", "grpc_service", "grpc_type")
# Names of the reference product.
GENERATION = "contrast_coordinator_manifest_generation"
HANDLED = "contrast_grpc_server_handled_total"
SECONDS = "contrast_grpc_server_handling_seconds"
RECEIVED = "contrast_grpc_server_msg_received_total"
SENT = "contrast_grpc_server_msg_sent_total"
STARTED = "contrast_grpc_server_started_total"
MESH_FAILURES = "contrast_meshapi_attestation_failures_total"
SCRAPES = "promhttp_metric_handler_requests_total"
SCRAPES_NOW = "promhttp_metric_handler_requests_in_flight"
SCRAPE_ERRORS = "promhttp_metric_handler_errors_total"
# Ours.
STATE = "contrast_coordinator_state"
TRANSITION = "contrast_coordinator_transition"
PEERS = "contrast_coordinator_peers_serving"
MESH_CA_END = "contrast_mesh_ca_not_after_seconds"
ROOT_CA_END = "contrast_root_ca_not_after_seconds"
HISTORY_BYTES = "contrast_history_bytes"
UNWRITTEN = "contrast_audit_entries_unwritten"
HANDSHAKES_REFUSED = "contrast_handshakes_refused_total"
EVIDENCE_REFUSED = "contrast_attestation_failures_total"
CERTIFICATES = "contrast_meshapi_certificates_issued_total"
RECOVERIES = "contrast_recovery_attempts_total"
STORE_SECONDS = "contrast_store_requests_seconds"
ROLLBACKS = "contrast_rollback_detected_total"
REPAIRS = "contrast_history_repaired_total"
TRANSIT_REQUESTS = "contrast_transit_requests_total"
MEMORY = "process_resident_memory_bytes"
DESCRIPTORS = "process_open_fds"
MOST_DESCRIPTORS = "process_max_fds"

FAMILIES = (
    Family(GENERATION, "gauge", "manifests set so far, 0 for none"),
    Family(STATE, "gauge", "1 for the state the coordinator is in, else 0", ("state",)),
    Family(TRANSITION, "gauge", "1 for the transition that is served", ("transition",)),
    Family(PEERS, "gauge", "other coordinators on the same store that serve"),
    Family(MESH_CA_END, "gauge", "end of the mesh ca certificate, in seconds since 1970"),
    Family(ROOT_CA_END, "gauge", "end of the root ca certificate, in seconds since 1970"),
    Family(HISTORY_BYTES, "gauge", "size of all manifests and policies"),
    Family(UNWRITTEN, "gauge", "events that the store's audit log does not have yet"),
    Family(HANDLED, "counter", "calls completed, by status code", ("grpc_code", *_CALL)),
    Family(SECONDS, "histogram", "how long calls took", _CALL),
    Family(RECEIVED, "counter", "messages received", _CALL),
    Family(SENT, "counter", "messages sent", _CALL),
    Family(STARTED, "counter", "calls started", _CALL),
    Family(MESH_FAILURES, "counter", "handshakes refused by the mesh api"),
    Family(
        HANDSHAKES_REFUSED, "counter", "handshakes refused, by api and reason", ("api", "reason")
    ),
    Family(EVIDENCE_REFUSED, "counter", "evidence refused, by kind and reason", ("reason", "tee")),
    Family(CERTIFICATES, "counter", "certificates issued", ("policy", "workload")),
    Family(RECOVERIES, "counter", "attempts to recover, by user or peer", ("kind", "result")),
    Family(STORE_SECONDS, "histogram", "how long the store took", ("op", "result")),
    Family(ROLLBACKS, "counter", "older histories found in the store or served by a peer"),
    Family(REPAIRS, "counter", "heads or objects written back that were removed or changed"),
    Family(TRANSIT_REQUESTS, "counter", "requests to the transit engine", ("code", "op")),
    Family(MEMORY, "gauge", "resident memory"),
    Family(DESCRIPTORS, "gauge", "open file descriptors"),
    Family(MOST_DESCRIPTORS, "gauge", "file descriptors that are allowed"),
    Family(SCRAPES, "counter", "requests for metrics, by http status", ("code",)),
    Family(SCRAPES_NOW, "gauge", "requests for metrics being answered"),
    Family(SCRAPE_ERRORS, "counter", "metrics that could not be answered", ("cause",)),
)
_ZERO: Mapping[str, tuple[Labels, ...]] = {
    MESH_FAILURES: ((),),
    ROLLBACKS: ((),),
    REPAIRS: ((),),
    SCRAPES: tuple((("code", code),) for code in ("200", "500", "503")),
    SCRAPE_ERRORS: tuple((("cause", cause),) for cause in ("encoding", "gathering")),
}
_BUCKETS_S = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class _Histogram:
    """How many observations fell into each bucket, the last one being everything above, and their sum in seconds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(_BUCKETS_S) + 1))
    sum_s: float = 0.0

    def lines(self, name: str, labels: Labels) -> Iterable[str]:
        total = 0
        for bound, count in zip((*map(str, _BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            yield _line(f"{name}_bucket", (*labels, ("le", bound.removesuffix(".0"))), total)
        yield _line(f"{name}_sum", labels, round(self.sum_s, 6))
        yield _line(f"{name}_count", labels, total)


class Metrics:
    """Counts events; safe to use from any thread. methods: service and name of each."""

    def __init__(self, methods: Sequence[tuple[str, str]] = ()) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, dict[Labels, int]] = {
            each.name: dict.fromkeys(_ZERO.get(each.name, ()), 0)
            for each in FAMILIES
            if each.kind == "counter"
        }
        self._seconds: dict[str, dict[Labels, _Histogram]] = {SECONDS: {}, STORE_SECONDS: {}}
        self._scrapes_now = 0
        for labels in (_call_labels(service, method) for service, method in methods):
            for name in (STARTED, RECEIVED, SENT):
                self._counts[name][labels] = 0
            for code in grpc.StatusCode:
                self._counts[HANDLED][_with_code(labels, code.name)] = 0
            self._seconds[SECONDS][labels] = _Histogram()

    def count(self, name: str, labels: Labels = ()) -> None:
        """Add one to a series."""
        with self._lock:
            self._counts[name][labels] = self._counts[name].get(labels, 0) + 1

    def observe(self, name: str, labels: Labels, seconds: float) -> None:
        """Add an observation to a histogram."""
        with self._lock:
            histogram = self._seconds[name].setdefault(labels, _Histogram())
            histogram.counts[bisect_left(_BUCKETS_S, seconds)] += 1
            histogram.sum_s += seconds

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
        self.observe(SECONDS, labels, seconds)

    def scrape(self, read: Callable[[], Gauges]) -> str:
        """Return the exposition text; read: returns the gauges of this moment. Raises what it raises."""
        with self._lock:
            self._scrapes_now += 1
        try:
            text = self.render(read())
        except BaseException:
            self.count(SCRAPES, (("code", "500"),))
            self.count(SCRAPE_ERRORS, (("cause", "gathering"),))
            raise
        finally:
            with self._lock:
                self._scrapes_now -= 1
        self.count(SCRAPES, (("code", "200"),))
        return text

    def render(self, gauges: Gauges) -> str:
        """Return the exposition text."""
        lines = []
        with self._lock:
            own: Gauges = {SCRAPES_NOW: {(): self._scrapes_now}}
            series: Gauges = {**gauges, **own, **self._counts}
            for name, kind, meaning, _ in FAMILIES:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
                if kind == "histogram":
                    for labels, histogram in sorted(self._seconds[name].items()):
                        lines += histogram.lines(name, labels)
                    continue
                found = series.get(name, {})
                lines += [_line(name, labels, found[labels]) for labels in sorted(found)]
        return "\n".join(lines) + "\n"


def gauges_of(guard: "Guard", peers: int | None) -> Gauges:
    """Return what a Coordinator is at this moment. peers: how many others serve, None if that cannot be found out."""
    status, state = guard.snapshot()
    found: dict[str, Mapping[Labels, float]] = {
        GENERATION: {(): status.generation},
        STATE: {(("state", name),): int(name == status.name) for name in STATES},
        PEERS: {} if peers is None else {(): peers},
        UNWRITTEN: {(): guard.audit.waiting},
        **_process(),
    }
    if state is not None:
        found[TRANSITION] = {(("transition", state.latest.transition_hash.hex()),): 1}
        found[MESH_CA_END] = {(): int(state.ca.mesh_ca_not_after.timestamp())}
        found[ROOT_CA_END] = {(): int(state.ca.root_ca_not_after.timestamp())}
        found[HISTORY_BYTES] = {(): state.documents.size}
    return found


def _process() -> Gauges:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123  # what the kernel says needs no path object
        pages = int(file.read().split()[1])
    return {
        MEMORY: {(): pages * resource.getpagesize()},
        DESCRIPTORS: {(): len(os.listdir("/proc/self/fd"))},  # noqa: PTH208  # as above
        MOST_DESCRIPTORS: {(): resource.getrlimit(resource.RLIMIT_NOFILE)[0]},
    }


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {value}" if inner else f"{name} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _call_labels(service: str, method: str) -> Labels:
    return (("grpc_method", method), ("grpc_service", service), ("grpc_type", "unary"))


def _with_code(labels: Labels, code: str) -> Labels:
    return (("grpc_code", _go_spelling(code)), *labels)


def _go_spelling(code: str) -> str:
    """Return `PermissionDenied` for `PERMISSION_DENIED`; OK stays, and Go writes Canceled with one l."""
    if code == "OK":
        return code
    return code.title().replace("_", "").replace("Cancelled", "Canceled")
