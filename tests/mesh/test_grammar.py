"""The grammar of the mesh annotations, row by row of the specification's input table."""

import pytest

from contrast_tasks.annotations import ADMIN_PORT, EGRESS, INGRESS
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.mesh.grammar import MeshError, parse_environment
from contrast_tasks.mesh.model import EgressEntry, IngressEntry, MeshConfig
from tests.fakes.mesh import mesh_of, read_mesh

GOOD_EGRESS = "emoji#127.137.0.1:8081#emoji-svc:8080"


def found_in(**annotations: str) -> list[Finding]:
    return read_mesh(**annotations)[1]


def test_the_seed_annotations_are_read() -> None:
    config = mesh_of(
        ingress="web#8080#false",
        egress=GOOD_EGRESS + "##voting#127.137.0.2:8081#voting-svc:8080",
    )

    assert config == MeshConfig(
        ingress=(IngressEntry(name="web", port=8080, mode="tls"),),
        egress=(
            EgressEntry(
                name="emoji",
                listen_ip="127.137.0.1",
                listen_port=8081,
                remote_host="emoji-svc",
                remote_port=8080,
            ),
            EgressEntry(
                name="voting",
                listen_ip="127.137.0.2",
                listen_port=8081,
                remote_host="voting-svc",
                remote_port=8080,
            ),
        ),
    )


@pytest.mark.parametrize("values", [{}, {"ingress": "", "egress": "", "admin_port": ""}])
def test_absent_and_empty_mean_the_defaults(values: dict[str, str]) -> None:
    assert mesh_of(**values) == MeshConfig()


def test_disabled_as_the_whole_ingress_leaves_incoming_connections_alone() -> None:
    config = mesh_of(ingress="DISABLED", egress=GOOD_EGRESS)

    assert (config.has_ingress, config.ingress, len(config.egress)) == (False, (), 1)
    assert mesh_of(ingress="").has_ingress


@pytest.mark.parametrize("ingress", ["disabled", "DISABLED##web#8080#true", "DISABLED "])
def test_disabled_in_any_other_form_is_an_error(ingress: str) -> None:
    (finding,) = found_in(ingress=ingress)

    assert finding.severity is Severity.ERROR


def test_names_of_clients_make_no_sense_with_ingress_disabled() -> None:
    (finding,) = found_in(ingress="DISABLED", ingress_peers="8080=web")

    assert (finding.rule, finding.severity) == ("mesh-peers", Severity.ERROR)


def test_an_ipv6_remote_is_shown_in_brackets() -> None:
    (entry,) = mesh_of(egress="six#127.137.0.3:1#[fd00::1]:8080").egress

    assert (entry.remote_host, entry.remote) == ("fd00::1", "[fd00::1]:8080")


def test_the_sidecars_variables_are_read_as_the_annotations_are() -> None:
    config = parse_environment(
        {
            "CONTRAST_INGRESS_PROXY_CONFIG": "web#8080#false",
            "CONTRAST_EGRESS_PROXY_CONFIG": GOOD_EGRESS,
            "CONTRAST_ADMIN_PORT": "9901",
            "CONTRAST_INGRESS_PEERS": "9000=web,10.0.0.1",
            "CONTRAST_EGRESS_PEERS": "emoji=emoji",
        }
    )

    assert config == mesh_of(
        ingress="web#8080#false",
        egress=GOOD_EGRESS,
        admin_port="9901",
        ingress_peers="9000=web,10.0.0.1",
        egress_peers="emoji=emoji",
    )


def test_a_malformed_variable_stops_the_sidecar() -> None:
    with pytest.raises(MeshError, match="egress") as caught:
        parse_environment({"CONTRAST_EGRESS_PROXY_CONFIG": "emoji#127.137.0.1#emoji-svc:8080"})

    assert [entry.rule for entry in caught.value.findings] == ["mesh-listen"]


def test_one_port_may_stand_on_several_listen_addresses() -> None:
    assert len(mesh_of(egress="a#127.0.0.1:80#a:1##b#127.0.0.2:80#b:1").egress) == 2


@pytest.mark.parametrize("flag", ["1", "t", "T", "TRUE", "True"])
def test_other_spellings_of_true_are_plain_with_a_warning(flag: str) -> None:
    config, found = read_mesh(ingress=f"a#80#{flag}")

    assert [entry.mode for entry in config.ingress] == ["plain"]
    assert [(entry.rule, entry.severity) for entry in found] == [("mesh-flag", Severity.WARNING)]


@pytest.mark.parametrize("flag", ["0", "f", "F", "FALSE", "False"])
def test_other_spellings_of_false_are_tls_with_a_warning(flag: str) -> None:
    config, found = read_mesh(ingress=f"a#80#{flag}")

    assert [entry.mode for entry in config.ingress] == ["tls"]
    assert [entry.rule for entry in found] == ["mesh-flag"]


@pytest.mark.parametrize(
    "text", ["##a#1#true", "a#1#true##", "##a#1#true##", "a#1#true####b#2#true"]
)
def test_empty_entries_are_skipped_with_a_warning(text: str) -> None:
    config, found = read_mesh(ingress=text)

    assert config.ingress[0] == IngressEntry(name="a", port=1, mode="plain")
    assert [entry.rule for entry in found] == ["mesh-empty-entry"]


def test_a_repeated_port_with_one_flag_is_a_warning() -> None:
    found = found_in(ingress="a#80#true##b#80#true")

    assert [(entry.rule, entry.severity) for entry in found] == [
        ("mesh-repeated-port", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("a#8080#true###b#80#true", "mesh-fields", id="three-hashes"),
        pytest.param("a", "mesh-fields", id="one-field"),
        pytest.param("a#80", "mesh-fields", id="two-fields"),
        pytest.param("a#80#true#x", "mesh-fields", id="four-fields"),
        pytest.param("a#b#80#true", "mesh-fields", id="hash-in-name"),
        pytest.param("#80#true", "mesh-name", id="empty-name"),
        pytest.param("a#abc#true", "mesh-port", id="port-word"),
        pytest.param("a##true", "mesh-fields", id="port-empty"),
        pytest.param("a#-1#true", "mesh-port", id="port-negative"),
        pytest.param("a#+80#true", "mesh-port", id="port-sign"),
        pytest.param("a#70000#true", "mesh-port", id="port-wraps"),
        pytest.param("a#65536#true", "mesh-port", id="port-one-too-many"),
        pytest.param("a#0#true", "mesh-port", id="port-zero"),
        pytest.param("a#080#true", "mesh-port", id="port-leading-zero"),
        pytest.param("a#\u0661#true", "mesh-port", id="port-other-digits"),
        pytest.param("a#15006#true", "mesh-reserved-port", id="port-mtls-listener"),
        pytest.param("a#15007#false", "mesh-reserved-port", id="port-tls-listener"),
        pytest.param("a#80#yes", "mesh-flag", id="flag-word"),
        pytest.param("a#80#tRUE", "mesh-flag", id="flag-case"),
        pytest.param("a#80#", "mesh-flag", id="flag-empty"),
        pytest.param(" a#80#true", "mesh-blank", id="leading-blank"),
        pytest.param("a#80#true\n", "mesh-blank", id="block-scalar"),
        pytest.param("a#80 #true", "mesh-blank", id="inner-blank"),
        pytest.param("a#80#true##b#80#false", "mesh-ingress-conflict", id="two-flags"),
    ],
)
def test_a_bad_ingress_entry_is_refused(text: str, rule: str) -> None:
    found = [entry for entry in found_in(ingress=text) if entry.severity is Severity.ERROR]

    assert rule in {entry.rule for entry in found}
    assert all(entry.message.startswith(INGRESS) for entry in found)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("a#127.0.0.1:80", "mesh-fields", id="two-fields"),
        pytest.param("a#127.0.0.1:80#b:1#c", "mesh-fields", id="four-fields"),
        pytest.param("#127.0.0.1:80#b:1", "mesh-name", id="empty-name"),
        pytest.param("a#localhost:80#b:1", "mesh-listen", id="listen-host-name"),
        pytest.param("a#127.0.0.1#b:1", "mesh-listen", id="listen-without-port"),
        pytest.param("a##b:1", "mesh-fields", id="listen-empty"),
        pytest.param("a#10.0.0.1:80#b:1", "mesh-listen", id="listen-outside-loopback"),
        pytest.param("a#0.0.0.0:80#b:1", "mesh-listen", id="listen-wildcard"),
        pytest.param("a#[::1]:80#b:1", "mesh-listen", id="listen-ipv6-loopback"),
        pytest.param("a#[::ffff:127.0.0.1]:80#b:1", "mesh-listen", id="listen-mapped"),
        pytest.param("a#127.0.0.01:80#b:1", "mesh-listen", id="listen-leading-zero"),
        pytest.param("a#[127.0.0.1]:80#b:1", "mesh-listen", id="listen-in-brackets"),
        pytest.param("a#127.0.0.1]:80#b:1", "mesh-listen", id="listen-half-bracket"),
        pytest.param("a#127.0.0.1:0#b:1", "mesh-port", id="listen-port-zero"),
        pytest.param("a#127.0.0.1:70000#b:1", "mesh-port", id="listen-port-wraps"),
        pytest.param("a#127.0.0.1:15006#b:1", "mesh-reserved-port", id="listen-mtls-port"),
        pytest.param("a#127.0.0.1:15007#b:1", "mesh-reserved-port", id="listen-tls-port"),
        pytest.param("a#127.0.0.1:80#b", "mesh-remote", id="remote-without-port"),
        pytest.param("a#127.0.0.1:80#", "mesh-remote", id="remote-empty"),
        pytest.param("a#127.0.0.1:80#:8080", "mesh-remote", id="remote-without-host"),
        pytest.param("a#127.0.0.1:80#b:70000", "mesh-port", id="remote-port-wraps"),
        pytest.param("a#127.0.0.1:80#b:0", "mesh-port", id="remote-port-zero"),
        pytest.param("a#127.0.0.1:80#fd00::1:80", "mesh-remote", id="remote-ipv6-bare"),
        pytest.param("a#127.0.0.1:80#[fd00::g]:80", "mesh-remote", id="remote-ipv6-bad"),
        pytest.param("a#127.0.0.1:80#[fe80::1%eth0]:80", "mesh-remote", id="remote-ipv6-zone"),
        pytest.param("a#127.0.0.1:80#10.0.0.300:80", "mesh-remote", id="remote-ipv4-bad"),
        pytest.param("a#127.0.0.1:80#b_$:80", "mesh-remote", id="remote-name-bad"),
        pytest.param("a#127.0.0.1:80#*.b:80", "mesh-remote", id="remote-wildcard"),
        pytest.param("a#127.0.0.1:80#b:1##a#127.0.0.2:80#b:1", "mesh-duplicate", id="name-twice"),
        pytest.param("a#127.0.0.1:80#b:1##c#127.0.0.1:80#b:1", "mesh-duplicate", id="listen-twice"),
        pytest.param("ingress#127.0.0.1:80#b:1", "mesh-reserved-name", id="name-ingress"),
        pytest.param(
            "ingressWithoutClientAuth#127.0.0.1:80#b:1",
            "mesh-reserved-name",
            id="name-ingress-tls",
        ),
        pytest.param("IngressCluster#127.0.0.1:80#b:1", "mesh-reserved-name", id="name-cluster"),
        pytest.param("BlackHoleCluster#127.0.0.1:80#b:1", "mesh-reserved-name", id="name-hole"),
        pytest.param("a#127.0.0.1:80#b:1 ", "mesh-blank", id="trailing-blank"),
    ],
)
def test_a_bad_egress_entry_is_refused(text: str, rule: str) -> None:
    found = [entry for entry in found_in(egress=text) if entry.severity is Severity.ERROR]

    assert rule in {entry.rule for entry in found}
    assert all(entry.message.startswith(EGRESS) for entry in found)


@pytest.mark.parametrize("text", ["abc", "0", "-1", "65536", "+1", "9901 ", "15006", "15007"])
def test_a_bad_admin_port_is_refused(text: str) -> None:
    (found,) = found_in(admin_port=text)

    assert found.severity is Severity.ERROR
    assert found.message.startswith(ADMIN_PORT)


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"ingress": "a#9901#false", "admin_port": "9901"}, id="ingress"),
        pytest.param({"egress": "a#127.0.0.1:9901#b:1", "admin_port": "9901"}, id="egress"),
    ],
)
def test_the_admin_port_is_nobody_elses(annotations: dict[str, str]) -> None:
    assert [entry.rule for entry in found_in(**annotations)] == ["mesh-reserved-port"]


def test_an_entry_may_be_for_the_admin_port_of_the_reference_products_proxy() -> None:
    assert found_in(ingress="admin#9901#true", admin_port="9901") == []


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"egress": GOOD_EGRESS, "egress_peers": "voting=voting"}, id="unknown-name"),
        pytest.param({"egress": GOOD_EGRESS, "egress_peers": "emoji"}, id="no-names"),
        pytest.param({"egress": GOOD_EGRESS, "egress_peers": "emoji="}, id="empty-name"),
        pytest.param({"egress": GOOD_EGRESS, "egress_peers": "emoji=a,,b"}, id="empty-among"),
        pytest.param({"ingress": "a#80#false", "ingress_peers": "80=web"}, id="exempt-port"),
        pytest.param({"ingress": "", "ingress_peers": "x=web"}, id="no-port"),
    ],
)
def test_bad_peers_are_refused(annotations: dict[str, str]) -> None:
    assert Severity.ERROR in {entry.severity for entry in found_in(**annotations)}


def test_every_finding_is_collected_with_entry_and_field() -> None:
    found = found_in(ingress="a#0#maybe##b#1#true#x", egress="c#10.0.0.1:0#:9")

    assert [(entry.message.partition(":")[0], entry.rule) for entry in found] == [
        (f"{INGRESS} entry 1 port", "mesh-port"),
        (f"{INGRESS} entry 1 flag", "mesh-flag"),
        (f"{INGRESS} entry 2", "mesh-fields"),
        (f"{EGRESS} entry 1 listen address", "mesh-listen"),
        (f"{EGRESS} entry 1 listen port", "mesh-port"),
        (f"{EGRESS} entry 1 remote", "mesh-remote"),
    ]


def test_a_finding_says_key_entry_field_found_and_wanted() -> None:
    with pytest.raises(MeshError) as error:
        parse_environment({"CONTRAST_INGRESS_PROXY_CONFIG": "web#70000#false"})

    assert str(error.value) == (
        "contrast.edgeless.systems/servicemesh-ingress entry 1 port: "
        "found '70000', expected a port from 1 to 65535 in plain digits"
    )
