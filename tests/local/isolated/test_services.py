"""Who is behind a Service, on which port, and what it is called, while pods come and go."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from contrast_tasks.local.isolated import services as module
from contrast_tasks.local.isolated.services import ServedPod, Services


def pod(name: str, number: int, *, ready: bool = True, **spec: Any) -> ServedPod:
    return ServedPod(
        document={
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {"name": "web", "ports": [{"name": "http", "containerPort": 8000 + number}]}
                ],
                **spec,
            },
        },
        address=f"10.244.0.{number}",
        address_6=f"fd00::{number}",
        started=True,
        ready=ready,
    )


def service(**spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    whole = {"selector": {"app": "web"}, "ports": ports, **spec}
    return {"kind": "Service", "metadata": {"name": "web"}, "spec": whole}


class FakeRelay:
    """Instead of a relay: keeps what it was made with."""

    def __init__(self, listener: Any, endpoints: Any) -> None:
        listener.close()
        self.endpoints = endpoints

    async def close(self) -> None:
        pass

    @classmethod
    async def open(cls, listener: Any, endpoints: Any) -> "FakeRelay":
        return cls(listener, endpoints)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Services:
    async def nothing(_address: str) -> None:
        pass

    class Socket:
        def __init__(self, *_: object) -> None:
            pass

        setsockopt = bind = listen = close = __init__

    monkeypatch.setattr(module, "add_service_address", nothing)
    monkeypatch.setattr(module, "Relay", FakeRelay)
    monkeypatch.setattr(module, "DatagramRelay", FakeRelay)
    names = ("AF_INET", "SOL_SOCKET", "SO_REUSEADDR")
    constants = {name: getattr(socket, name) for name in names}
    monkeypatch.setattr(module, "socket", SimpleNamespace(socket=Socket, **constants))
    return Services()


def behind(services: Services, *documents: dict[str, Any]) -> dict[Any, Any]:
    asyncio.run(services.apply(documents))
    return {place: relay.endpoints() for place, relay in services._relays.items()}


def test_a_port_leads_to_the_named_port_of_each_ready_pod(served: Services) -> None:
    served.pods_changed([pod("a", 3), pod("b", 4), pod("c", 5, ready=False)])

    found = behind(served, service())

    assert found == {("TCP", "10.96.1.1", 80): [("10.244.0.3", 8003), ("10.244.0.4", 8004)]}


def test_a_service_that_publishes_them_has_pods_that_are_not_ready(served: Services) -> None:
    served.pods_changed([pod("c", 5, ready=False)])

    assert list(behind(served, service(publishNotReadyAddresses=True)).values()) == [
        [("10.244.0.5", 8005)]
    ]


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"clusterIP": "None"}, id="headless"),
        pytest.param({"type": "ExternalName", "externalName": "example.org"}, id="elsewhere"),
        pytest.param({"ports": [{"port": 53, "protocol": "SCTP"}]}, id="SCTP"),
    ],
)
def test_what_has_no_address_or_another_protocol_is_not_relayed(
    served: Services, spec: dict[str, Any]
) -> None:
    assert behind(served, service(**spec)) == {}


def test_one_port_of_both_protocols_is_relayed_twice(served: Services) -> None:
    served.pods_changed([pod("a", 3)])
    ports = [{"port": 53, "targetPort": 53, "protocol": each} for each in ("TCP", "UDP")]

    assert behind(served, service(ports=ports)) == {
        ("TCP", "10.96.1.1", 53): [("10.244.0.3", 53)],
        ("UDP", "10.96.1.1", 53): [("10.244.0.3", 53)],
    }


def test_without_a_selector_nobody_is_behind_it(served: Services) -> None:
    served.pods_changed([pod("a", 3)])

    assert list(behind(served, service(selector=None)).values()) == [[]]


def test_a_service_keeps_its_address_and_takes_the_one_that_it_asks_for(served: Services) -> None:
    other = {**service(), "metadata": {"name": "other"}}
    behind(served, service())

    found = behind(served, other, service(), service(clusterIP="10.96.7.7"))
    documents = served.documents()

    assert set(found) == {("TCP", "10.96.1.2", 80), ("TCP", "10.96.1.1", 80)}
    assert [each["spec"]["clusterIP"] for each in documents][:2] == ["10.96.1.2", "10.96.1.1"]


def test_pods_of_a_headless_service_have_their_host_names_below_it(served: Services) -> None:
    behind(served, service(clusterIP="None"))
    served.pods_changed([pod("web-0", 3, hostname="web-0", subdomain="web"), pod("b", 4)])

    base = "web.default.svc.cluster.local"
    named, all_pods = served.zone.find(f"web-0.{base}"), served.zone.find(base)

    assert named is not None
    assert named.addresses == ("10.244.0.3",)
    assert all_pods is not None
    assert all_pods.addresses == ("10.244.0.3", "10.244.0.4")
    assert served.zone.find(f"b.{base}") is None


def test_pods_of_another_namespace_are_not_behind_it(served: Services) -> None:
    stranger = pod("a", 3)
    stranger.document["metadata"]["namespace"] = "shop"
    served.pods_changed([stranger])

    assert list(behind(served, service()).values()) == [[]]
