"""The bootstrap, against golden files and the rules that the tests of Envoy itself cannot see."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contrast_tasks.mesh.envoy import admin_endpoint, render_bootstrap
from contrast_tasks.mesh.envoy_tls import TlsPaths, secret_files
from contrast_tasks.mesh.interception import Interception
from contrast_tasks.mesh.local import LocalMesh
from tests.fakes.mesh import mesh_of

PATHS = TlsPaths(
    certificate_chain="/contrast/tls-config/certChain.pem",
    private_key="/contrast/tls-config/key.pem",
    trusted_ca="/contrast/tls-config/mesh-ca.pem",
    watched="/contrast",
)
SEED_WEB = {
    "ingress": "web#8080#false",
    "egress": "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#voting-svc:8080",
}
LOCAL = LocalMesh(
    pod_address="127.77.0.2",
    app_address="127.78.0.2",
    ports=(8080,),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
    egress={},
)


def bootstrap_of(local: LocalMesh | None = None, **annotations: str) -> dict[str, Any]:
    config = mesh_of(**annotations)
    return render_bootstrap(config, secrets_directory="/run/mesh", local=local)


def named(bootstrap: dict[str, Any], kind: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in bootstrap["static_resources"][kind]}


def tls_of(entry: dict[str, Any]) -> dict[str, Any]:
    return entry["transport_socket"]["typed_config"]


@pytest.mark.parametrize(
    ("name", "local", "annotations"),
    [
        pytest.param("default", None, {}, id="default"),
        pytest.param("seed-web", None, SEED_WEB, id="seed-web"),
        pytest.param("seed-web-local", LOCAL, SEED_WEB, id="seed-web-local"),
    ],
)
def test_the_bootstrap_is_the_golden_one(
    name: str,
    local: LocalMesh | None,
    annotations: dict[str, str],
    golden: Callable[[str, bytes], bytes],
) -> None:
    found = (json.dumps(bootstrap_of(local, **annotations), indent=2) + "\n").encode()

    assert found == golden(f"mesh/{name}.json", found)


def test_the_default_has_two_listeners_and_two_clusters() -> None:
    resources = bootstrap_of()["static_resources"]

    assert [entry["name"] for entry in resources["listeners"]] == [
        "ingress",
        "ingressWithoutClientAuth",
    ]
    assert [entry["name"] for entry in resources["clusters"]] == [
        "IngressCluster",
        "BlackHoleCluster",
    ]


def test_only_the_mesh_ca_is_trusted() -> None:
    text = json.dumps([bootstrap_of(**SEED_WEB), secret_files(PATHS)])

    assert "coordinator-root-ca" not in text
    assert "/contrast/tls-config/mesh-ca.pem" in text


def test_the_ingress_listener_requires_a_client_certificate_over_tls_1_3() -> None:
    context = tls_of(named(bootstrap_of(), "listeners")["ingress"]["filter_chains"][0])

    assert context["require_client_certificate"] is True
    assert context["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_3"
    assert "combined_validation_context" in context["common_tls_context"]


def test_the_exempted_listener_asks_for_no_certificate_and_allows_tls_1_2() -> None:
    listener = named(bootstrap_of(), "listeners")["ingressWithoutClientAuth"]
    context = tls_of(listener["filter_chains"][0])

    assert context["require_client_certificate"] is False
    assert context["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert "combined_validation_context" not in context["common_tls_context"]


def test_a_connection_to_the_proxy_itself_falls_into_the_black_hole() -> None:
    matcher = named(bootstrap_of(), "listeners")["ingress"]["filter_chain_matcher"]

    action = matcher["matcher_tree"]["exact_match_map"]["map"]["15006"]["action"]
    assert action["typed_config"]["value"] == "BlackHoleFilter"


def test_an_egress_name_cannot_replace_a_listener_of_ours() -> None:
    names = named(bootstrap_of(**SEED_WEB), "listeners")

    assert set(names) == {"egress_emoji", "egress_voting", "ingress", "ingressWithoutClientAuth"}


def test_a_silent_name_server_does_not_delay_the_listeners() -> None:
    assert (
        named(bootstrap_of(**SEED_WEB), "clusters")["egress_emoji"]["wait_for_warm_on_init"]
        is False
    )


def test_an_ipv6_remote_can_be_reached() -> None:
    cluster = named(bootstrap_of(egress="a#127.0.0.1:1#[fd00::1]:80"), "clusters")["egress_a"]

    assert cluster["dns_lookup_family"] == "V4_PREFERRED"
    assert "'address': 'fd00::1'" in str(cluster["load_assignment"])


def test_the_admin_interface_is_a_private_socket_unless_it_is_asked_for() -> None:
    assert bootstrap_of()["admin"] == {
        "address": {"pipe": {"path": "envoy-admin.sock", "mode": 0o600}}
    }
    address = bootstrap_of(admin_port="9901")["admin"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": 9901}


def test_a_local_admin_interface_stays_behind_the_mesh() -> None:
    assert admin_endpoint(mesh_of(admin_port="9901"), LOCAL) == ("127.78.0.2", 9901)
    address = bootstrap_of(LOCAL, admin_port="9901")["admin"]["address"]["socket_address"]
    assert address == {"address": "127.78.0.2", "port_value": 9901}


def test_a_pinned_egress_peer_must_carry_its_name() -> None:
    bootstrap = bootstrap_of(egress="a#127.0.0.1:1#a-svc:80", egress_peers="a=emoji,10.0.0.1")
    context = tls_of(named(bootstrap, "clusters")["egress_a"])

    trust = context["common_tls_context"]["combined_validation_context"]
    assert trust["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "emoji"}},
        {"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}},
    ]


def test_a_pinned_ingress_port_has_a_chain_of_its_own() -> None:
    listener = named(bootstrap_of(ingress="", ingress_peers="9000=web"), "listeners")["ingress"]

    chains = {chain["name"]: chain for chain in listener["filter_chains"]}
    trust = tls_of(chains["ingress_9000"])["common_tls_context"]["combined_validation_context"]
    names = trust["default_validation_context"]
    assert names["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "web"}
    ports = listener["filter_chain_matcher"]["matcher_tree"]["exact_match_map"]["map"]
    assert ports["9000"]["action"]["typed_config"]["value"] == "ingress_9000"


def test_each_local_port_has_a_listener_in_the_annotated_mode() -> None:
    local = replace(LOCAL, ports=(7890, 8080, 9000))
    bootstrap = bootstrap_of(local, ingress="web#8080#false##metrics#7890#true")

    listeners = named(bootstrap, "listeners")

    plain, exempted, protected = (
        listeners[f"ingress_127.77.0.2_{port}"]["filter_chains"][0] for port in local.ports
    )
    assert "transport_socket" not in plain
    assert tls_of(exempted)["require_client_certificate"] is False
    assert tls_of(protected)["require_client_certificate"] is True
    assert all(listener["enable_reuse_port"] is False for listener in listeners.values())


def test_without_ingress_nothing_is_redirected_and_egress_stays() -> None:
    egress = {**SEED_WEB, "ingress": "DISABLED"}

    assert list(named(bootstrap_of(**egress), "listeners")) == ["egress_emoji", "egress_voting"]
    assert list(named(bootstrap_of(**egress), "clusters")) == ["egress_emoji", "egress_voting"]


def test_without_ingress_a_local_port_is_plain_and_the_admin_interface_out_of_reach() -> None:
    local = replace(LOCAL, ports=(8080, 9901))

    listeners = named(bootstrap_of(local, ingress="DISABLED", admin_port="9901"), "listeners")

    assert list(listeners) == ["ingress_127.77.0.2_8080"]
    assert "transport_socket" not in listeners["ingress_127.77.0.2_8080"]["filter_chains"][0]


def test_a_moved_egress_listener_is_bound_at_its_new_place() -> None:
    local = replace(LOCAL, egress={"127.137.0.2:8081": "127.78.2.6:8081"})
    listeners = named(bootstrap_of(local, **SEED_WEB), "listeners")

    addresses = {
        name: entry["address"]["socket_address"]["address"] for name, entry in listeners.items()
    }
    assert addresses["egress_emoji"] == "127.137.0.1"
    assert addresses["egress_voting"] == "127.78.2.6"


def test_without_ipv6_the_transparent_listeners_are_on_ipv4() -> None:
    bootstrap = render_bootstrap(
        mesh_of(), secrets_directory="/run/mesh", interception=Interception(dual_stack=False)
    )

    addresses = [
        entry["address"]["socket_address"] for entry in named(bootstrap, "listeners").values()
    ]
    assert [address["address"] for address in addresses] == ["0.0.0.0"] * 2


def test_a_remote_the_local_backend_does_not_know_is_left_to_dns() -> None:
    clusters = named(bootstrap_of(LOCAL, **SEED_WEB), "clusters")

    assert clusters["egress_emoji"]["type"] == "STATIC"
    assert clusters["egress_voting"]["type"] == "LOGICAL_DNS"


def test_the_certificates_are_secrets_that_are_watched() -> None:
    assert "certChain.pem" not in json.dumps(bootstrap_of())
    assert set(secret_files(PATHS)) == {"certificate.json", "validation.json"}
    assert "key.pem" in json.dumps(secret_files(PATHS))


def test_renewal_is_watched_for_where_no_half_of_a_set_ever_appears() -> None:
    secrets = [file["resources"][0] for file in secret_files(PATHS).values()]

    watched = [
        secret.get("tls_certificate", secret.get("validation_context"))["watched_directory"]["path"]
        for secret in secrets
    ]
    assert watched == ["/contrast", "/contrast"]
