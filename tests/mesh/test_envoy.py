"""The bootstrap, against golden files and the rules that the tests of Envoy itself cannot see."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from contrast_tasks.mesh.annotations import parse_mesh
from contrast_tasks.mesh.envoy import (
    BootstrapOptions,
    LocalListener,
    TlsPaths,
    render_bootstrap,
    render_secrets,
)

PATHS = TlsPaths.in_directory("/contrast/tls-config")
SEED_WEB = {
    "ingress": "web#8080#false",
    "egress": "emoji#127.137.0.1:8081#emoji-svc:8080##voting#127.137.0.2:8081#voting-svc:8080",
}
LOCAL = BootstrapOptions(
    mode="local",
    local_listeners=(
        LocalListener(
            bind_ip="127.77.0.2", port=8080, app_ip="127.78.0.2", require_client_certificate=False
        ),
    ),
    resolve={"emoji-svc:8080": ("127.77.0.3", 8080)},
)


def bootstrap_of(options: BootstrapOptions | None = None, **annotations: str) -> dict[str, Any]:
    return render_bootstrap(parse_mesh(**annotations), paths=PATHS, options=options)


def named(bootstrap: dict[str, Any], kind: str) -> dict[str, Any]:
    return {entry["name"]: entry for entry in bootstrap["static_resources"][kind]}


def tls_of(entry: dict[str, Any]) -> dict[str, Any]:
    return entry["transport_socket"]["typed_config"]


@pytest.mark.parametrize(
    ("name", "options", "annotations"),
    [
        pytest.param("default", BootstrapOptions(), {}, id="default"),
        pytest.param("default-reference", BootstrapOptions.reference(), {}, id="reference"),
        pytest.param("seed-web", BootstrapOptions(), SEED_WEB, id="seed-web"),
        pytest.param("seed-web-local", LOCAL, SEED_WEB, id="seed-web-local"),
    ],
)
def test_the_bootstrap_is_the_golden_one(
    name: str,
    options: BootstrapOptions,
    annotations: dict[str, str],
    golden: Callable[[str, bytes], bytes],
) -> None:
    found = (json.dumps(bootstrap_of(options, **annotations), indent=2) + "\n").encode()

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
    text = json.dumps(bootstrap_of(**SEED_WEB))

    assert "coordinator-root-ca" not in text
    assert "/contrast/tls-config/mesh-ca.pem" in text


def test_the_ingress_listener_requires_a_client_certificate_over_tls_1_3() -> None:
    context = tls_of(named(bootstrap_of(), "listeners")["ingress"]["filter_chains"][0])

    assert context["require_client_certificate"] is True
    assert context["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_3"
    assert "validation_context" in context["common_tls_context"]


def test_the_exempted_listener_asks_for_no_certificate_and_allows_tls_1_2() -> None:
    listener = named(bootstrap_of(), "listeners")["ingressWithoutClientAuth"]
    context = tls_of(listener["filter_chains"][0])

    assert context["require_client_certificate"] is False
    assert context["common_tls_context"]["tls_params"]["tls_minimum_protocol_version"] == "TLSv1_2"
    assert "validation_context" not in context["common_tls_context"]


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


def test_the_admin_interface_is_on_loopback_and_off_by_default() -> None:
    assert "admin" not in bootstrap_of()
    address = bootstrap_of(admin_port="9901")["admin"]["address"]["socket_address"]
    assert address == {"address": "127.0.0.1", "port_value": 9901}


def test_a_pinned_egress_peer_must_carry_its_name() -> None:
    bootstrap = bootstrap_of(egress="a#127.0.0.1:1#a-svc:80", egress_peers="a=emoji,10.0.0.1")
    context = tls_of(named(bootstrap, "clusters")["egress_a"])

    assert context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "emoji"}},
        {"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}},
    ]


def test_a_pinned_ingress_port_has_a_chain_of_its_own() -> None:
    listener = named(bootstrap_of(ingress="", ingress_peers="9000=web"), "listeners")["ingress"]

    chains = {chain["name"]: chain for chain in listener["filter_chains"]}
    trust = tls_of(chains["ingress_9000"])["common_tls_context"]["validation_context"]
    assert trust["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "web"}
    ports = listener["filter_chain_matcher"]["matcher_tree"]["exact_match_map"]["map"]
    assert ports["9000"]["action"]["typed_config"]["value"] == "ingress_9000"


def test_a_plain_local_listener_has_no_tls() -> None:
    options = BootstrapOptions(
        mode="local",
        local_listeners=(
            LocalListener(
                bind_ip="127.77.0.2",
                port=7890,
                app_ip="127.78.0.2",
                require_client_certificate=False,
                is_plain=True,
            ),
        ),
    )

    listener = named(bootstrap_of(options), "listeners")["ingress_127.77.0.2_7890"]

    assert "transport_socket" not in listener["filter_chains"][0]


def test_a_remote_the_local_backend_does_not_know_is_left_to_dns() -> None:
    clusters = named(bootstrap_of(LOCAL, **SEED_WEB), "clusters")

    assert clusters["egress_emoji"]["type"] == "STATIC"
    assert clusters["egress_voting"]["type"] == "LOGICAL_DNS"


def test_watched_secrets_replace_the_inline_files() -> None:
    bootstrap = bootstrap_of(BootstrapOptions(secrets_directory="/run/mesh"))

    assert "certChain.pem" not in json.dumps(bootstrap)
    assert set(render_secrets(PATHS)) == {"certificate.json", "validation.json"}
    assert "key.pem" in json.dumps(render_secrets(PATHS))


def test_renewal_is_watched_for_where_no_half_of_a_set_ever_appears() -> None:
    secrets = [file["resources"][0] for file in render_secrets(PATHS).values()]

    watched = [
        secret.get("tls_certificate", secret.get("validation_context"))["watched_directory"]["path"]
        for secret in secrets
    ]
    assert watched == ["/contrast", "/contrast"]
