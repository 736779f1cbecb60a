"""Counters for /metrics in the Prometheus text format; small enough to do without a library.

Names and labels: spec/coordinator.md 10.1.
"""

import threading
from collections.abc import Mapping, Sequence

STARTED = "contrast_grpc_server_started_total"
HANDLED = "contrast_grpc_server_handled_total"
ATTESTATION_FAILURES = "contrast_meshapi_attestation_failures_total"
GENERATION = "contrast_coordinator_manifest_generation"
STATE = "contrast_coordinator_state"

_HELP = {
    STARTED: "calls started",
    HANDLED: "calls completed, by status code",
    ATTESTATION_FAILURES: "handshakes refused by the mesh api",
    GENERATION: "manifests set so far, 0 for none",
    STATE: "1 for the state the coordinator is in",
}
_GAUGES = frozenset({GENERATION, STATE})
_Series = tuple[str, tuple[tuple[str, str], ...]]


class Metrics:
    """Counts events; safe to use from any thread."""

    def __init__(self, methods: Sequence[tuple[str, str]] = ()) -> None:
        self._lock = threading.Lock()
        self._counts: dict[_Series, int] = {(ATTESTATION_FAILURES, ()): 0}
        for service, method in methods:
            self._counts[(STARTED, _call_labels(service, method))] = 0

    def count(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Add one to a series."""
        series = (name, tuple(sorted((labels or {}).items())))
        with self._lock:
            self._counts[series] = self._counts.get(series, 0) + 1

    def call_started(self, service: str, method: str) -> None:
        """Count a call that arrived."""
        self.count(STARTED, dict(_call_labels(service, method)))

    def call_handled(self, service: str, method: str, code: str) -> None:
        """Count a call that was answered; `code` as `OK` or `PermissionDenied`."""
        self.count(HANDLED, {**dict(_call_labels(service, method)), "grpc_code": code})

    def render(self, *, generation: int, state: str) -> str:
        """Return the exposition text; `generation` and `state` are read now."""
        with self._lock:
            counts = dict(self._counts)
        counts[(GENERATION, ())] = generation
        counts[(STATE, (("state", state),))] = 1
        lines = []
        previous = ""
        for (name, labels), value in sorted(counts.items()):
            if name != previous:
                kind = "gauge" if name in _GAUGES else "counter"
                lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"]
                previous = name
            inner = ",".join(f'{key}="{text}"' for key, text in labels)
            lines.append(f"{name}{{{inner}}} {value}" if inner else f"{name} {value}")
        return "\n".join(lines) + "\n"


def _call_labels(service: str, method: str) -> tuple[tuple[str, str], ...]:
    return (("grpc_method", method), ("grpc_service", service), ("grpc_type", "unary"))
