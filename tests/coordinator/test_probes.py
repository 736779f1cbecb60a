import http.client
import json
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from contrast_tasks.errors import ClusterError
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
        metrics=(lambda: "generation 3\n") if metrics else None,
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
def test_fault_17_8_liveness_does_not_depend_on_the_state(name: str) -> None:
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
