"""How a Coordinator on a cluster is reached, with the real kubectl."""

import errno
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.set import run_set
from contrast_tasks.deploy import reach
from contrast_tasks.deploy.cluster import Access, Kubectl
from contrast_tasks.deploy.reach import RELAY, Forward, reached
from contrast_tasks.errors import ClusterError
from contrast_tasks.progress import Progress
from tests.fakes.deployment import Project, running_coordinator
from tests.fakes.kube.cluster import Key, Object
from tests.fakes.kube.kinds import kind
from tests.fakes.kube.server import KubeServer
from tests.fakes.kube.servers import ON_FAKE, AnyServer

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
]
SERVICE = Key(kind("Service"), "default", "coordinator")
LABELS = {"app.kubernetes.io/name": "coordinator"}


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cluster(any_server: AnyServer, tmp_path: Path, said: list[str]) -> Kubectl:
    kubeconfig = any_server.write_kubeconfig(tmp_path / "kubeconfig", context="test-cluster")
    return Kubectl(Access(kubeconfig=str(kubeconfig)), say=said.append)


@pytest.fixture
def server(any_server: KubeServer, monkeypatch: pytest.MonkeyPatch) -> KubeServer:
    """Give the server a Service without address, and a pod that runs."""
    monkeypatch.setattr(reach, "_PAUSE_S", 0.01)
    make_service(any_server)
    make_pod(any_server, "coordinator-0")
    return any_server


def make_service(server: AnyServer) -> None:
    spec = {"type": "LoadBalancer", "ports": [{"port": 1313}], "selector": LABELS}
    body = {"metadata": {"name": "coordinator"}, "spec": spec}
    server.cluster.create(SERVICE.resource, "default", body)


def make_pod(server: AnyServer, name: str, phase: str = "Running") -> Object:
    ports = [{"containerPort": 1313}]
    spec = {"containers": [{"name": "coordinator", "image": "coordinator", "ports": ports}]}
    metadata = {"name": name, "labels": LABELS if name != RELAY else {}}
    status = {"phase": phase, "conditions": [{"type": "Ready", "status": "True"}]}
    body = {"metadata": metadata, "spec": spec, "status": status}
    return server.cluster.create(kind("Pod"), "default", body)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """Give the place of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=_send_back, args=(listener,))
        answering.start()
        yield listener.getsockname()
        answering.join()


def _send_back(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while piece := connection.recv(65536):
            connection.sendall(piece)


def test_the_address_is_that_of_its_load_balancer(
    cluster: Kubectl, any_server: AnyServer, said: list[str]
) -> None:
    with (
        pytest.raises(ClusterError, match="default/Service/coordinator is not on the cluster"),
        reached(cluster, 1313, limit_s=0, say=said.append),
    ):
        pass
    make_service(any_server)
    any_server.cluster.set_status(SERVICE, {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}})

    with reached(cluster, 1313, limit_s=0, say=said.append) as address:
        assert address == "203.0.113.7:1313"

    assert said == ["coordinator 203.0.113.7:1313"]


def test_a_coordinator_without_any_pod_is_told(
    cluster: Kubectl, any_server: AnyServer, said: list[str]
) -> None:
    make_service(any_server)

    with (
        pytest.raises(ClusterError, match="found no pod of the coordinator") as caught,
        reached(cluster, 1313, limit_s=0, say=said.append),
    ):
        pass

    assert "status" in caught.value.hint


def test_whoever_watches_is_told_of_every_attempt_while_no_pod_runs(
    tmp_path: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reach, "_PAUSE_S", 0.0)
    script = (
        f"cd {tmp_path}; [ -e one ] && [ -e two ] && echo 'Forwarding from 127.0.0.1:4 -> 1313' && exec cat <>pipe;"
        " [ -e one ] && touch two; touch one; echo 'timed out waiting for the condition' >&2; exit 1"
    )
    os.mkfifo(tmp_path / "pipe")
    told: list[str] = []

    class Told:
        def begin(self, name: str) -> None:
            told.append(f"begin {name}")

        def end(self, name: str, size_bytes: int = 0) -> None:
            told.append(f"end {name}")

    def watch(verb: str, total: int, unit: str) -> AbstractContextManager[Progress]:
        told.append(f"{verb} {total} {unit}")
        return nullcontext(Told())

    with Forward(["sh", "-c", script], 1313, limit_s=60, say=said.append, watch=watch) as forward:
        assert forward.address == "127.0.0.1:4"

    assert told == ["waiting for 1 pod", *["begin coordinator"] * 3, "end coordinator"]
    assert len([line for line in said if line.startswith("waiting for the coordinator: ")]) == 1


@ON_FAKE
def test_without_a_load_balancer_a_manifest_is_set_through_a_forwarded_port(
    cluster: Kubectl, server: KubeServer, said: list[str], tmp_path: Path
) -> None:
    processor = tmp_path / "processor"
    project = Project(tmp_path / "project", SimulatedProcessor.load_or_create(processor))

    with ExitStack() as stack:
        place = stack.enter_context(running_coordinator(project, processor=processor))
        host, port = place.split(":")
        server.inside["coordinator-0"] = lambda: socket.create_connection((host, int(port)))
        way = reached(cluster, 1313, limit_s=0, say=said.append)
        done = run_set(
            project.settings, say=said.append, coordinator=lambda: stack.enter_context(way)
        )

    address = done.coordinator
    assert (
        f"coordinator {address}, which kubectl forwards to default/Service/coordinator: "
        "its Service has no address of a load balancer"
    ) in said
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(address.partition(":")[2])))


@ON_FAKE
def test_a_pod_that_relays_goes_before_and_an_interrupt_ends_kubectl(
    cluster: Kubectl, server: KubeServer, said: list[str], echo: tuple[str, int]
) -> None:
    make_pod(server, RELAY)
    server.inside[RELAY] = lambda: socket.create_connection(echo)

    ports = []

    def use_and_interrupt() -> None:
        with reached(cluster, 1313, limit_s=0, say=said.append) as address:
            ports.append(int(address.partition(":")[2]))
            greet(ports[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        use_and_interrupt()

    assert f"default/Pod/{RELAY}" in said[0]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", ports[0]))


def greet(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as caller:
        caller.sendall(b"hello")
        assert caller.recv(5) == b"hello"


@ON_FAKE
def test_a_pod_that_is_pending_is_waited_for_and_then_forwarded_to(
    cluster: Kubectl, server: KubeServer, said: list[str], echo: tuple[str, int]
) -> None:
    pod = Key(kind("Pod"), "default", "coordinator-0")
    server.cluster.set_status(pod, {"phase": "Pending"})
    server.inside["coordinator-0"] = lambda: socket.create_connection(echo)

    with (
        pytest.raises(ClusterError, match="pod is not running"),
        reached(cluster, 1313, limit_s=0, say=said.append),
    ):
        pass

    def say(line: str) -> None:
        said.append(line)
        server.cluster.set_status(pod, {"phase": "Running"})

    with reached(cluster, 1313, limit_s=60, say=say) as address:
        greet(int(address.partition(":")[2]))
    assert [line for line in said if line.startswith("waiting for the coordinator: ")] == said[:1]


@ON_FAKE
def test_a_lost_forwarding_is_told_with_the_way_out_and_begun_again_at_the_same_port(
    cluster: Kubectl, server: KubeServer, said: list[str], echo: tuple[str, int]
) -> None:
    told = threading.Event()

    def refuse() -> socket.socket:
        server.inside["coordinator-0"] = lambda: socket.create_connection(echo)
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def say(line: str) -> None:
        said.append(line)
        if "hint" in line:
            told.set()

    server.inside["coordinator-0"] = refuse
    with reached(cluster, 1313, limit_s=0, say=say) as address:
        port = int(address.partition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as caller:
            assert caller.recv(5) == b""
        assert told.wait(20)
        greet_again(port)

    assert "most nodes forward no ports into virtual machines" in said[1]
    assert "run a relay" in said[2]
    assert len(said) == 3


def greet_again(port: int) -> None:
    """Greet as soon as something listens there."""
    while True:
        with suppress(ConnectionRefusedError):
            return greet(port)
