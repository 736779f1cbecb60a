"""The names of variables for Services, beside a recorded container and the model of the kubelet."""

import json

import pytest

from contrast_tasks.decode import Json
from contrast_tasks.pods.service_links import API_SERVER, ServicePort, is_link, link_variables
from contrast_tasks.runtime.kubelet.services import service_variables
from contrast_tasks.runtime.node import Node
from contrast_tasks.runtime.objects import Namespace
from tests.fakes.testdata import RECORDINGS

PORTS = [ServicePort(6379, "db", "TCP"), ServicePort(53, "", "UDP"), ServicePort(9, "a-b", "SCTP")]
SERVICE = {
    "kind": "Service",
    "metadata": {"name": "my-redis"},
    "spec": {
        "clusterIP": "10.96.0.7",
        "ports": [
            {"port": 6379, "name": "db"},
            {"port": 53, "protocol": "UDP"},
            {"port": 9, "name": "a-b", "protocol": "SCTP"},
        ],
    },
}


def test_the_api_servers_are_those_of_a_recorded_container() -> None:
    path = RECORDINGS / "env-downward" / "recorded" / "2.4.2" / "app.json"
    recorded = json.loads(path.read_bytes())["process"]["env"]

    names = {entry.partition("=")[0] for entry in recorded}
    assert {name for name in names if name.startswith("KUBERNETES_")} == API_SERVER


def test_names_are_those_that_the_model_of_the_kubelet_sends() -> None:
    namespace = Namespace([Json(SERVICE).value], "default")

    sent = service_variables(namespace, Node(), links=True)

    assert set(link_variables("my-redis", PORTS)) == sent.keys() - API_SERVER


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("REDIS_PORT", True),
        ("REDIS_SERVICE_HOST", True),
        ("2048_SERVICE_PORT_A_B", True),
        ("A_PORT_80_TCP_ADDR", True),
        ("PORT", False),
        ("A_PORT_80", False),
        ("A_PORT_x_TCP", False),
        ("redis_PORT", False),
        ("REDIS_HOST", False),
        ("REDIS_PORTS", False),
    ],
)
def test_whether_some_service_could_give_a_name(name: str, is_one: bool) -> None:
    assert is_link(name) is is_one
