import http.client
import json
import socket
from collections.abc import Iterator
from http import HTTPStatus

import grpc
import pytest

from contrast_tasks.errors import ClusterError
from coordinator.metrics import Metrics
from coordinator.probes import Probes, ProbeServer
from coordinator.state import Status
from tests.fakes.coordinator import Clock

STATUSES = {
    name: Status(name=name, reason="why", generation=3)
    for name in ("initial", "active", "final", "recovery", "stale", "inconsistent", "unknown")
}


def make_probes(
    name: str = "active", *, started: bool = True, alive: bool = True, metrics: bool = False
) -> Probes:
    return Probes(
        status=lambda: STATUSES[name],
        is_started=lambda: started,
        is_alive=lambda: alive,
        now=Clock(),
        metrics=(lambda status: f"generation {status.generation}\n") if metrics else None,
    )


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("initial", 503),
        ("active", 200),
        ("final", 200),
        ("recovery", 503),
        ("stale", 503),
        ("inconsistent", 503),
        ("unknown", 503),
    ],
)
def test_readiness_means_a_state_that_can_be_served(name: str, wanted: int) -> None:
    assert make_probes(name).answer("/probe/readiness").status == wanted


@pytest.mark.parametrize("name", STATUSES)
def test_liveness_does_not_depend_on_the_state(name: str) -> None:
    assert make_probes(name).answer("/probe/liveness").status == HTTPStatus.OK
    assert make_probes(name, alive=False).answer("/probe/liveness").status == 503


def test_startup_means_that_both_apis_listen() -> None:
    assert make_probes().answer("/probe/startup").status == HTTPStatus.OK
    assert make_probes(started=False).answer("/probe/startup").status == 503


def test_the_body_says_status_reason_generation_and_since_when() -> None:
    probes = make_probes("active")

    first = json.loads(probes.answer("/probe/readiness").body)
    second = json.loads(probes.answer("/probe/startup").body)

    assert first == {
        "status": "active",
        "reason": "why",
        "generation": 3,
        "since": "2026-03-01T12:00:01Z",
    }
    assert second == first


@pytest.mark.parametrize("path", ["/", "/probe", "/probe/readiness/", "/metrics", "/../etc"])
def test_other_paths_are_not_found(path: str) -> None:
    assert make_probes().answer(path).status == HTTPStatus.NOT_FOUND


def test_metrics_are_there_only_when_switched_on() -> None:
    assert make_probes(metrics=True).answer("/metrics").body == b"generation 3\n"


@pytest.fixture
def server() -> Iterator[ProbeServer]:
    server = ProbeServer("127.0.0.1", 0, make_probes())
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("method", "path", "wanted"),
    [
        ("GET", "/probe/readiness", 200),
        ("GET", "/probe/readiness?verbose", 200),
        ("HEAD", "/probe/liveness", 200),
        ("GET", "/nothing", 404),
        ("POST", "/probe/readiness", 501),
    ],
)
def test_probes_are_served_over_http(
    server: ProbeServer, method: str, path: str, wanted: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request(method, path)

    response = connection.getresponse()
    response.read()
    connection.close()

    assert response.status == wanted


def test_a_prober_that_hangs_up_is_no_event(
    server: ProbeServer, capfd: pytest.CaptureFixture[str]
) -> None:
    socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.request("GET", "/probe/liveness")

    assert connection.getresponse().status == HTTPStatus.OK
    connection.close()
    assert capfd.readouterr() == ("", "")


def test_a_port_in_use_is_an_error_that_names_it(server: ProbeServer) -> None:
    with pytest.raises(ClusterError, match=f"cannot listen on 127.0.0.1:{server.port}") as caught:
        ProbeServer("127.0.0.1", server.port, make_probes())

    assert caught.value.exit_code == 30


def test_a_server_that_never_started_can_be_stopped() -> None:
    ProbeServer("127.0.0.1", 0, make_probes()).stop()


LABELS = 'grpc_method="SetManifest",grpc_service="userapi.UserAPI",grpc_type="unary"'


def test_metrics_are_rendered_with_every_known_series() -> None:
    metrics = Metrics([("userapi.UserAPI", "SetManifest")])
    metrics.call_started("userapi.UserAPI", "SetManifest")
    metrics.call_handled("userapi.UserAPI", "SetManifest", "OK", 0.003)

    lines = metrics.render(generation=2, state="active").splitlines()

    handled = [line for line in lines if line.startswith("contrast_grpc_server_handled_total")]
    buckets = [line for line in lines if "_bucket" in line]
    assert len(handled) == 17
    assert handled[9] == f'contrast_grpc_server_handled_total{{grpc_code="OK",{LABELS}}} 1'
    assert [line.rpartition(" ")[2] for line in handled] == ["0"] * 9 + ["1"] + ["0"] * 7
    assert [line.rpartition(",le=")[2] for line in buckets] == [
        '"0.0001"} 0',
        '"0.0005"} 0',
        '"0.001"} 0',
        '"0.005"} 1',
        '"0.01"} 1',
        '"0.05"} 1',
        '"0.1"} 1',
        '"0.5"} 1',
        '"1"} 1',
        '"2.5"} 1',
        '"5"} 1',
        '"+Inf"} 1',
    ]
    assert [line for line in lines if line not in {*handled, *buckets}] == [
        "# HELP contrast_coordinator_manifest_generation manifests set so far, 0 for none",
        "# TYPE contrast_coordinator_manifest_generation gauge",
        "contrast_coordinator_manifest_generation 2",
        "# HELP contrast_coordinator_state 1 for the state the coordinator is in",
        "# TYPE contrast_coordinator_state gauge",
        'contrast_coordinator_state{state="active"} 1',
        "# HELP contrast_grpc_server_handled_total calls completed, by status code",
        "# TYPE contrast_grpc_server_handled_total counter",
        "# HELP contrast_grpc_server_handling_seconds how long calls took",
        "# TYPE contrast_grpc_server_handling_seconds histogram",
        f"contrast_grpc_server_handling_seconds_sum{{{LABELS}}} 0.003",
        f"contrast_grpc_server_handling_seconds_count{{{LABELS}}} 1",
        "# HELP contrast_grpc_server_msg_received_total messages received",
        "# TYPE contrast_grpc_server_msg_received_total counter",
        f"contrast_grpc_server_msg_received_total{{{LABELS}}} 1",
        "# HELP contrast_grpc_server_msg_sent_total messages sent",
        "# TYPE contrast_grpc_server_msg_sent_total counter",
        f"contrast_grpc_server_msg_sent_total{{{LABELS}}} 1",
        "# HELP contrast_grpc_server_started_total calls started",
        "# TYPE contrast_grpc_server_started_total counter",
        f"contrast_grpc_server_started_total{{{LABELS}}} 1",
        "# HELP contrast_meshapi_attestation_failures_total handshakes refused by the mesh api",
        "# TYPE contrast_meshapi_attestation_failures_total counter",
        "contrast_meshapi_attestation_failures_total 0",
        "# HELP contrast_transit_requests_total requests to the transit engine, by operation and http status",
        "# TYPE contrast_transit_requests_total counter",
    ]


@pytest.mark.parametrize("code", list(grpc.StatusCode), ids=lambda code: code.name)
def test_status_codes_are_counted_in_series_that_exist_from_the_start(
    code: grpc.StatusCode,
) -> None:
    metrics = Metrics([("userapi.UserAPI", "SetManifest")])
    before = metrics.render(generation=0, state="initial").count("grpc_code")

    metrics.call_handled("userapi.UserAPI", "SetManifest", code.name, 60)

    text = metrics.render(generation=0, state="initial")
    assert text.count("grpc_code") == before
    assert 'le="+Inf"} 1' in text
    assert 'le="5"} 0' in text
