"""From the pod's environment to Envoy's bootstrap."""

import json
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.guest.mesh_setup import (
    LocalMesh,
    MeshSetup,
    parse_config,
    parse_local_mesh,
    prepare_mesh,
)
from contrast_tasks.guest.secret_files import SecretFiles
from contrast_tasks.mesh.problems import MeshError

WEB = {
    "CONTRAST_INGRESS_PROXY_CONFIG": "web#8080#false##metrics#7890#true",
    "CONTRAST_EGRESS_PROXY_CONFIG": "emoji#127.137.0.1:8081#emoji-svc:8080##shop#127.137.0.2:8081#shop:1",
}
LOCAL = LocalMesh(
    pod_address="127.77.0.6",
    app_address="127.78.0.6",
    ports=(8080, 7890, 9000),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
    egress={"127.137.0.2:8081": "127.78.2.6:8081"},
)


def prepared(environ: dict[str, str], local: LocalMesh | None = LOCAL) -> MeshSetup:
    return prepare_mesh(
        parse_config(environ),
        files=SecretFiles(root=Path("/contrast")),
        folder=Path("/run/mesh"),
        local=local,
    )


def listeners(setup: MeshSetup) -> dict[str, dict[str, Any]]:
    found = {}
    for listener in setup.bootstrap["static_resources"]["listeners"]:
        address = listener["address"]["socket_address"]
        found[f"{address['address']}:{address['port_value']}"] = listener
    return found


def requires_client_certificate(listener: dict[str, Any]) -> bool:
    context = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    return bool(context["require_client_certificate"])


def test_local_ingress_has_one_listener_per_port_in_the_annotated_mode() -> None:
    found = listeners(prepared(WEB))

    assert not requires_client_certificate(found["127.77.0.6:8080"])
    assert requires_client_certificate(found["127.77.0.6:9000"])
    assert "transport_socket" not in found["127.77.0.6:7890"]["filter_chains"][0]


def test_a_moved_egress_listener_is_bound_at_its_new_place() -> None:
    found = listeners(prepared(WEB))

    assert "127.137.0.1:8081" in found
    assert "127.78.2.6:8081" in found
    assert "127.137.0.2:8081" not in found


def test_a_known_remote_is_static_and_an_unknown_one_is_left_to_dns() -> None:
    clusters = prepared(WEB).bootstrap["static_resources"]["clusters"]

    types = {cluster["name"]: cluster["type"] for cluster in clusters}
    assert types["egress_emoji"] == "STATIC"
    assert types["egress_shop"] == "LOGICAL_DNS"


def test_no_local_listener_shares_its_port() -> None:
    assert all(entry["enable_reuse_port"] is False for entry in listeners(prepared(WEB)).values())


def test_without_an_admin_port_the_admin_interface_is_a_private_socket() -> None:
    setup = prepared(WEB)

    assert setup.admin is None
    assert setup.bootstrap["admin"] == {
        "address": {"pipe": {"path": "envoy-admin.sock", "mode": 0o600}}
    }


def test_an_admin_port_stays_behind_the_mesh() -> None:
    setup = prepared({**WEB, "CONTRAST_ADMIN_PORT": "9901"})

    assert setup.admin == ("127.78.0.6", 9901)


def test_in_a_guest_the_two_transparent_listeners_take_everything() -> None:
    setup = prepared({}, local=None)

    ports = sorted(
        listener["address"]["socket_address"]["port_value"]
        for listener in setup.bootstrap["static_resources"]["listeners"]
    )
    assert ports == [15006, 15007]
    assert setup.listeners == 2


def test_trust_is_the_mesh_ca_and_never_the_root() -> None:
    setup = prepared(WEB)

    text = json.dumps([setup.bootstrap, setup.secrets])
    assert "/contrast/tls-config/mesh-ca.pem" in text
    assert "coordinator-root-ca.pem" not in text


def test_a_malformed_annotation_stops_the_sidecar() -> None:
    with pytest.raises(MeshError, match="egress"):
        parse_config({"CONTRAST_EGRESS_PROXY_CONFIG": "emoji#127.137.0.1#emoji-svc:8080"})


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pod_address": "127.77.0.3"}', '{"ports": "x"}', "null"]
)
def test_a_malformed_local_mesh_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="CONTRAST_LOCAL_MESH is not understood"):
        parse_local_mesh(text)


def test_a_local_mesh_is_read_back() -> None:
    text = json.dumps(
        {
            "pod_address": LOCAL.pod_address,
            "app_address": LOCAL.app_address,
            "ports": LOCAL.ports,
            "resolve": LOCAL.resolve,
            "egress": LOCAL.egress,
        }
    )

    assert parse_local_mesh(text) == LOCAL
