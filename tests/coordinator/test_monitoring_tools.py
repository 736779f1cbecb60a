"""What Grafana and Prometheus themselves say of the dashboard, the alert rules and the metrics.

The dashboard's members are those of the types that Grafana's schemas are made into, in the package grafana-foundation-sdk for Grafana
11.6. promtool, of Debian's package prometheus, reads the rules and says when they fire.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml

from contrast_tasks import resources
from coordinator.metrics import Metrics, gauges_of
from tests.fakes.coordinator import make_guard

DASHBOARD = resources.read_text("templates/monitoring/dashboard.json")
_, RULES = yaml.safe_load_all(resources.read_text("templates/monitoring/alerts.yml"))


def misfits(value: Any, wanted: Any, place: str) -> Iterator[str]:
    """Yield the places of values that are not of the type that Grafana's schema has there."""
    kinds = get_args(wanted)
    if get_origin(wanted) in {Union, UnionType}:
        if all(any(misfits(value, kind, place)) for kind in kinds):
            yield place
        return
    if not is_of(value, wanted):
        yield f"{place}: {value}"
    for name, inner, kind in inside(value, kinds):
        yield from misfits(inner, kind, f"{place}.{name}")


def is_of(value: Any, wanted: Any) -> bool:
    kind = get_origin(wanted) or wanted
    if kind in {Any, object}:
        return True
    if kind is Literal:
        return value in get_args(wanted)
    if issubclass(kind, Enum):
        return value in set(kind)
    return isinstance(value, (int, float) if kind is float else kind)


def inside(value: Any, kinds: Sequence[Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and type of each member of a value."""
    if isinstance(value, list):
        yield from ((str(index), each, [*kinds, Any][0]) for index, each in enumerate(value))
    elif isinstance(value, dict):
        yield from ((key, each, [*kinds, Any, Any][1]) for key, each in value.items())
    elif type(value).__module__.startswith("grafana_foundation_sdk"):
        for name, kind in get_type_hints(type(value)).items():
            yield name, getattr(value, name), kind


def dropped(ours: Any, theirs: Any, place: str = "dashboard") -> Iterator[str]:
    """Yield the places of members that Grafana's types do not have, or have otherwise."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key in theirs:
                yield from dropped(value, theirs[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from dropped(*pair, f"{place}[{index}]")
    elif ours != theirs:
        yield place


def faults_of(dashboard: str) -> list[str]:
    """Return what Grafana would not understand of a dashboard."""
    plugins = pytest.importorskip(
        "grafana_foundation_sdk.cog.plugins", reason="grafana-foundation-sdk is not installed"
    )
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder()
    kind = pytest.importorskip("grafana_foundation_sdk.models.dashboard").Dashboard
    # Options of panels and queries of Prometheus too.
    plugins.register_default_plugins()
    read = kind.from_json(json.loads(dashboard))
    return [
        *dropped(json.loads(dashboard), json.loads(encoder.encode(read))),
        *misfits(read, kind, "dashboard"),
    ]


def test_grafana_knows_every_member_of_the_dashboard() -> None:
    assert faults_of(DASHBOARD) == []


@pytest.mark.parametrize(
    ("found", "bent"),
    [
        ('"gridPos"', '"gridPlace"'),
        ('"expr"', '"expression"'),
        ('"reduceOptions"', '"reduce"'),
        ('"colorMode": "none"', '"colorMode": "nothing"'),
        ('"refresh": 2', '"refresh": 7'),
        ('"schemaVersion": 39', '"schemaVersion": "39"'),
    ],
)
def test_what_grafana_does_not_know_is_found(found: str, bent: str) -> None:
    assert found in DASHBOARD

    assert faults_of(DASHBOARD.replace(found, bent))


def promtool(*words: str | Path, given: str = "") -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool, of Debian's package prometheus, is not installed")
    done = subprocess.run(
        [program, *words], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def of(name: str, pod: int = 0, **labels: str) -> str:
    every = {"namespace": "shop", "pod": f"coordinator-{pod}", **labels}
    return name + "{" + ",".join(f'{key}="{value}"' for key, value in every.items()) + "}"


# Ninety minutes of two Coordinators that serve. As promtool writes series: first value, what each minute adds, how often.
QUIET = {
    **{of("contrast_coordinator_state", pod, state="active"): "1x90" for pod in (0, 1)},
    **{of("contrast_coordinator_state", pod, state="recovery"): "0x90" for pod in (0, 1)},
    **{of("contrast_coordinator_transition", pod, transition="aa"): "1x90" for pod in (0, 1)},
    **{of("contrast_coordinator_peers_serving", pod): "1x90" for pod in (0, 1)},
    of("contrast_rollback_detected_total"): "0x90",
    of("contrast_history_repaired_total"): "0x90",
    of("contrast_attestation_failures_total", tee="snp", reason="measurement"): "0x80 1x10",
    of("contrast_handshakes_refused_total", api="user", reason="handshake"): "0+60x90",
    of("contrast_store_requests_seconds_count", op="get", result="ok"): "0+600x90",
    of("contrast_store_requests_seconds_count", op="get", result="error"): "7x90",
    of("contrast_audit_entries_unwritten"): "3x90",
    of("contrast_history_bytes"): "1000000x90",
    of("contrast_mesh_ca_not_after_seconds"): "315360000x90",
    of("contrast_root_ca_not_after_seconds"): "315360000x90",
    of("contrast_recovery_attempts_total", kind="peer", result="ok"): "0+1x90",
    of("contrast_recovery_attempts_total", kind="peer", result="failed"): "2x90",
    of("contrast_grpc_server_handled_total", grpc_method="Recover", grpc_code="DataLoss"): "0x90",
    of(
        "contrast_grpc_server_handling_seconds_bucket", grpc_method="NewMeshCert", le="1"
    ): "0+60x90",
    of(
        "contrast_grpc_server_handling_seconds_bucket", grpc_method="NewMeshCert", le="5"
    ): "0+60x90",
    of(
        "contrast_grpc_server_handling_seconds_bucket", grpc_method="NewMeshCert", le="+Inf"
    ): "0+60x90",
    of("contrast_coordinator_manifest_generation"): "1x90",
    of("process_open_fds"): "60x90",
    of("process_max_fds"): "1024x90",
    # Another program of the namespace.
    'process_open_fds{namespace="shop",pod="web"}': "1000x90",
    'process_max_fds{namespace="shop",pod="web"}': "1024x90",
}
SHOP = {"namespace": "shop"}
POD = {**SHOP, "pod": "coordinator-0"}
# What is different when a rule fires, None for a series that is not there, and the labels of the alert.
FIRES: Mapping[str, tuple[Mapping[str, str | None], Mapping[str, str]]] = {
    "ContrastCoordinatorAbsent": (
        {each: None for each in QUIET if each.startswith("contrast_coordinator_state")},
        {},
    ),
    "ContrastCoordinatorNotServing": (
        {of("contrast_coordinator_state", pod, state="active"): "1x80 0x10" for pod in (0, 1)},
        SHOP,
    ),
    "ContrastCoordinatorNeedsRecovery": (
        {of("contrast_coordinator_state", state="recovery"): "0x80 1x10"},
        POD,
    ),
    "ContrastCoordinatorsDiffer": (
        {of("contrast_coordinator_transition", 1, transition="bb"): "1x90"},
        SHOP,
    ),
    "ContrastCoordinatorLost": (
        {of("contrast_coordinator_peers_serving", pod): "1x60 0x30" for pod in (0, 1)},
        SHOP,
    ),
    "ContrastRollbackDetected": ({of("contrast_rollback_detected_total"): "0x80 1x10"}, POD),
    "ContrastHistoryRepaired": ({of("contrast_history_repaired_total"): "0x80 1x10"}, POD),
    "ContrastEvidenceRefused": (
        {of("contrast_attestation_failures_total", tee="snp", reason="measurement"): "0+1x90"},
        {**SHOP, "tee": "snp", "reason": "measurement"},
    ),
    "ContrastHandshakesRefused": (
        {of("contrast_handshakes_refused_total", api="user", reason="handshake"): "0+1200x90"},
        {**SHOP, "api": "user", "reason": "handshake"},
    ),
    "ContrastStoreFails": (
        {of("contrast_store_requests_seconds_count", op="get", result="error"): "0+1x90"},
        {**POD, "op": "get"},
    ),
    "ContrastAuditLogUnwritten": ({of("contrast_audit_entries_unwritten"): "2000x90"}, POD),
    "ContrastHistoryNearlyFull": ({of("contrast_history_bytes"): "60000000x90"}, SHOP),
    "ContrastCertificateAuthorityEnds": (
        {of("contrast_root_ca_not_after_seconds"): "2000000x90"},
        SHOP,
    ),
    "ContrastRecoveryFails": (
        {of("contrast_recovery_attempts_total", kind="peer", result="failed"): "0+1x90"},
        {**POD, "kind": "peer"},
    ),
    "ContrastCallsFail": (
        {
            of(
                "contrast_grpc_server_handled_total", grpc_method="Recover", grpc_code="DataLoss"
            ): "0+1x90"
        },
        {**SHOP, "grpc_method": "Recover", "grpc_code": "DataLoss"},
    ),
    "ContrastCertificatesSlow": (
        {
            of(
                "contrast_grpc_server_handling_seconds_bucket", grpc_method="NewMeshCert", le="1"
            ): "0x90"
        },
        SHOP,
    ),
    "ContrastDescriptorsNearlyUsed": ({of("process_open_fds"): "1000x90"}, POD),
}


def scenario(series: Mapping[str, str | None], expected: Mapping[str, Any]) -> dict[str, Any]:
    given = {**QUIET, **series}
    return {
        "interval": "1m",
        "input_series": [
            {"series": name, "values": values} for name, values in given.items() if values
        ],
        "alert_rule_test": [
            {"eval_time": "88m", "alertname": name, "exp_alerts": alerts}
            for name, alerts in expected.items()
        ],
    }


@pytest.mark.e2e
def test_prometheus_takes_the_rules_and_fires_each_when_it_should_and_not_otherwise(
    tmp_path: Path,
) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(RULES["spec"]))
    promtool("check", "rules", "--lint=all", "--lint-fatal", file)
    rules = {rule["alert"]: rule for group in RULES["spec"]["groups"] for rule in group["rules"]}
    for rule in rules.values():
        # Their texts would have to be repeated here.
        del rule["annotations"]
    file.write_text(json.dumps(RULES["spec"]))
    tests = [scenario({}, {name: [] for name in rules})]
    for name, (series, labels) in FIRES.items():
        alert = {"exp_labels": {**rules[name]["labels"], **labels}}
        tests.append(scenario(series, {name: [alert]}))
    unit = {"rule_files": [file.name], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "tests.json").write_text(json.dumps(unit))

    promtool("test", "rules", tmp_path / "tests.json")
    assert FIRES.keys() == rules.keys()


@pytest.mark.e2e
def test_prometheus_reads_what_is_exported() -> None:
    metrics = Metrics([("userapi.UserAPI", "SetManifest")])
    metrics.count("contrast_meshapi_certificates_issued_total", (("workload", 'we"b\\\n'),))

    promtool("check", "metrics", given=metrics.render(gauges_of(make_guard(), 1)))
