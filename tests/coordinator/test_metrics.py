"""What /metrics shows: names, types and labels are those of docs/internals/coordinator.md 10.1, written out here."""

import re
from collections.abc import Mapping

import grpc
import pytest

from contrast_tasks.api import userapi_pb2 as pb
from coordinator.metrics import (
    CERTIFICATES,
    FAMILIES,
    Gauges,
    Metrics,
    gauges_of,
)
from coordinator.state import Guard
from coordinator.store.base import StoreConflict, StoreError
from coordinator.store.measured import MeasuredStore
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, BreakingStore, tiny_manifest

_CALL = "grpc_method grpc_service grpc_type"
# Source: docs/internals/coordinator.md 10.1: the reference product's, then ours.
KNOWN = {
    "contrast_grpc_server_started_total": ("counter", _CALL),
    "contrast_grpc_server_handled_total": ("counter", f"grpc_code {_CALL}"),
    "contrast_grpc_server_msg_received_total": ("counter", _CALL),
    "contrast_grpc_server_msg_sent_total": ("counter", _CALL),
    "contrast_grpc_server_handling_seconds": ("histogram", _CALL),
    "contrast_meshapi_attestation_failures_total": ("counter", ""),
    "contrast_coordinator_manifest_generation": ("gauge", ""),
    "promhttp_metric_handler_requests_total": ("counter", "code"),
    "promhttp_metric_handler_requests_in_flight": ("gauge", ""),
    "promhttp_metric_handler_errors_total": ("counter", "cause"),
    "contrast_coordinator_state": ("gauge", "state"),
    "contrast_meshapi_certificates_issued_total": ("counter", "policy workload"),
    "contrast_attestation_failures_total": ("counter", "reason tee"),
    "contrast_recovery_attempts_total": ("counter", "kind result"),
    "contrast_store_requests_seconds": ("histogram", "op result"),
    "contrast_rollback_detected_total": ("counter", ""),
    "contrast_history_repaired_total": ("counter", ""),
    "contrast_transit_requests_total": ("counter", "code op"),
    "contrast_mesh_ca_not_after_seconds": ("gauge", ""),
}
CALL = 'grpc_method="SetManifest",grpc_service="userapi.UserAPI",grpc_type="unary"'
NONE: Gauges = {}


def series_of(text: str) -> Mapping[str, float]:
    """Return the value of each series of an exposition; each line must have the form of one."""
    lines = [line for line in text.splitlines() if not line.startswith("# ")]
    form = (
        r'[a-z_]+(\{[a-z_]+="([^"\\\n]|\\[\\"n])*"(,[a-z_]+="([^"\\\n]|\\[\\"n])*")*\})? [0-9.e+-]+'
    )
    assert [line for line in lines if not re.fullmatch(form, line)] == []
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_names_types_and_labels_are_the_known_ones() -> None:
    found = {each.name: (each.kind, " ".join(sorted(each.labels))) for each in FAMILIES}

    assert {name: found.get(name) for name in KNOWN} == KNOWN


def test_every_series_of_a_method_exists_from_the_start() -> None:
    found = series_of(Metrics([("userapi.UserAPI", "SetManifest")]).render(NONE))

    assert found[f"contrast_grpc_server_started_total{{{CALL}}}"] == 0
    assert found[f"contrast_grpc_server_msg_received_total{{{CALL}}}"] == 0
    assert found[f"contrast_grpc_server_msg_sent_total{{{CALL}}}"] == 0
    assert found[f"contrast_grpc_server_handling_seconds_count{{{CALL}}}"] == 0
    codes = [name for name in found if name.startswith("contrast_grpc_server_handled_total{")]
    assert len(codes) == 17
    assert f'contrast_grpc_server_handled_total{{grpc_code="PermissionDenied",{CALL}}}' in codes
    assert f'contrast_grpc_server_handled_total{{grpc_code="Canceled",{CALL}}}' in codes
    assert found["contrast_meshapi_attestation_failures_total"] == 0
    assert found["contrast_rollback_detected_total"] == 0
    assert found['promhttp_metric_handler_requests_total{code="503"}'] == 0


def test_a_call_is_counted_in_the_buckets_above_its_time() -> None:
    metrics = Metrics([("userapi.UserAPI", "SetManifest")])
    metrics.call_started("userapi.UserAPI", "SetManifest")
    metrics.call_handled("userapi.UserAPI", "SetManifest", "OK", 0.003)

    found = series_of(metrics.render(NONE))

    assert found[f'contrast_grpc_server_handled_total{{grpc_code="OK",{CALL}}}'] == 1
    assert found[f"contrast_grpc_server_msg_sent_total{{{CALL}}}"] == 1
    assert found[f"contrast_grpc_server_handling_seconds_sum{{{CALL}}}"] == 0.003
    start = f"contrast_grpc_server_handling_seconds_bucket{{{CALL},le="
    assert {
        name.removeprefix(start)[1:-2]: int(value)
        for name, value in found.items()
        if name.startswith(start)
    } == {
        **dict.fromkeys(("0.0001", "0.0005", "0.001"), 0),
        **dict.fromkeys(("0.005", "0.01", "0.05", "0.1", "0.5", "1", "2.5", "5", "+Inf"), 1),
    }


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_a_status_code_is_counted_in_a_series_that_was_there(code: grpc.StatusCode) -> None:
    metrics = Metrics([("userapi.UserAPI", "SetManifest")])
    before = series_of(metrics.render(NONE)).keys()

    metrics.call_handled("userapi.UserAPI", "SetManifest", code.name, 60)

    found = series_of(metrics.render(NONE))
    assert found.keys() == before
    assert sum(value for name, value in found.items() if "_handled_total" in name) == 1


def test_a_name_of_a_workload_cannot_forge_a_series() -> None:
    metrics = Metrics()

    metrics.count(CERTIFICATES, (("policy", "ab"), ("workload", 'a"} 9\nforged \\')))

    found = series_of(metrics.render(NONE))
    assert not any(name.startswith("forged") for name in found)
    assert found[CERTIFICATES + '{policy="ab",workload="a\\"} 9\\nforged \\\\"}'] == 1


def test_requests_for_metrics_are_counted_as_the_reference_product_does() -> None:
    metrics = Metrics()

    def fail() -> Gauges:
        raise RuntimeError("broken on purpose")

    first = series_of(metrics.scrape(lambda: NONE))
    with pytest.raises(RuntimeError):
        metrics.scrape(fail)
    last = series_of(metrics.scrape(lambda: NONE))

    assert first["promhttp_metric_handler_requests_in_flight"] == 1
    assert first['promhttp_metric_handler_requests_total{code="200"}'] == 0
    assert last['promhttp_metric_handler_requests_total{code="200"}'] == 1
    assert last['promhttp_metric_handler_requests_total{code="500"}'] == 1
    assert last['promhttp_metric_handler_errors_total{cause="gathering"}'] == 1
    assert last["promhttp_metric_handler_requests_in_flight"] == 1


def test_gauges_are_of_the_state_that_is_served(guard: Guard) -> None:
    before = series_of(Metrics().render(gauges_of(guard, None)))
    set_manifest(pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY]), NOBODY, guard)
    after = series_of(Metrics().render(gauges_of(guard, 2)))

    state = guard.current()
    assert before['contrast_coordinator_state{state="initial"}'] == 1
    assert sum(value for name, value in before.items() if "r_state" in name) == 1
    assert "contrast_coordinator_peers_serving" not in before
    assert "contrast_mesh_ca_not_after_seconds" not in before
    assert after['contrast_coordinator_state{state="final"}'] == 1
    assert after["contrast_coordinator_manifest_generation"] == 1
    assert after["contrast_coordinator_peers_serving"] == 2
    assert after["contrast_mesh_ca_not_after_seconds"] == state.ca.mesh_ca_not_after.timestamp()
    assert after["contrast_audit_entries_unwritten"] == 1
    assert after["contrast_history_bytes"] == len(tiny_manifest()) + len(POLICY)
    digest = state.latest.transition_hash.hex()
    assert after[f'contrast_coordinator_transition{{transition="{digest}"}}'] == 1
    assert after["process_open_fds"] <= after["process_max_fds"]


def test_requests_to_the_store_are_told_with_their_result() -> None:
    inner, told = BreakingStore(), []
    store = MeasuredStore(inner, lambda *each: told.append(each[:2]))

    store.set("a/b", b"1")
    store.set_all({"a/c": b"2"})
    store.names("a")
    store.get("a/b")
    with pytest.raises(StoreError):
        store.get("a/x")
    with pytest.raises(StoreConflict):
        store.compare_and_swap("a/b", b"other", b"2")
    inner.fail_at = 0
    with pytest.raises(StoreError):
        store.set("a/b", b"3")

    assert told == [
        ("set", "ok"),
        ("set_all", "ok"),
        ("names", "ok"),
        ("get", "ok"),
        ("get", "not-found"),
        ("compare_and_swap", "conflict"),
        ("set", "error"),
    ]
