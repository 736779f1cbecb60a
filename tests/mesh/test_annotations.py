"""The grammar of the mesh annotations, row by row of the specification's input table."""

import pytest

from contrast_tasks.findings import Severity
from contrast_tasks.mesh.annotations import (
    ADMIN_PORT,
    EGRESS,
    INGRESS,
    parse_admin_port,
    parse_egress,
    parse_environment,
    parse_ingress,
    parse_mesh,
)
from contrast_tasks.mesh.model import EgressEntry, IngressEntry, MeshConfig
from contrast_tasks.mesh.problems import MeshError, Problem

GOOD_EGRESS = "emoji#127.137.0.1:8081#emoji-svc:8080"


def problems_of(**annotations: str) -> list[Problem]:
    found: list[Problem] = []
    parse_mesh(**annotations, problems=found)
    return found


def test_the_seed_annotations_are_read() -> None:
    config = parse_mesh(
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


@pytest.mark.parametrize("empty", [None, ""])
def test_absent_and_empty_mean_the_defaults(empty: str | None) -> None:
    assert parse_mesh(ingress=empty, egress=empty, admin_port=empty) == MeshConfig()


def test_an_ipv6_remote_is_shown_in_brackets() -> None:
    (entry,) = parse_egress("six#127.137.0.3:1#[fd00::1]:8080")

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

    assert config == parse_mesh(
        ingress="web#8080#false",
        egress=GOOD_EGRESS,
        admin_port="9901",
        ingress_peers="9000=web,10.0.0.1",
        egress_peers="emoji=emoji",
    )


def test_a_malformed_variable_stops_the_sidecar() -> None:
    with pytest.raises(MeshError, match="egress"):
        parse_environment({"CONTRAST_EGRESS_PROXY_CONFIG": "emoji#127.137.0.1#emoji-svc:8080"})


def test_one_port_may_stand_on_several_listen_addresses() -> None:
    assert len(parse_egress("a#127.0.0.1:80#a:1##b#127.0.0.2:80#b:1")) == 2


@pytest.mark.parametrize("flag", ["1", "t", "T", "TRUE", "True"])
def test_other_spellings_of_true_are_plain_with_a_warning(flag: str) -> None:
    found: list[Problem] = []

    entries = parse_ingress(f"a#80#{flag}", found)

    assert [entry.mode for entry in entries] == ["plain"]
    assert [(entry.rule, entry.severity) for entry in found] == [("W-MESH-FLAG", Severity.WARNING)]


@pytest.mark.parametrize("flag", ["0", "f", "F", "FALSE", "False"])
def test_other_spellings_of_false_are_tls_with_a_warning(flag: str) -> None:
    found: list[Problem] = []

    entries = parse_ingress(f"a#80#{flag}", found)

    assert [entry.mode for entry in entries] == ["tls"]
    assert [entry.rule for entry in found] == ["W-MESH-FLAG"]


@pytest.mark.parametrize(
    "text", ["##a#1#true", "a#1#true##", "##a#1#true##", "a#1#true####b#2#true"]
)
def test_empty_entries_are_skipped_with_a_warning(text: str) -> None:
    found: list[Problem] = []

    entries = parse_ingress(text, found)

    assert entries[0] == IngressEntry(name="a", port=1, mode="plain")
    assert [entry.rule for entry in found] == ["W-MESH-EMPTY-ENTRY"]


def test_a_repeated_port_with_one_flag_is_a_warning() -> None:
    found = problems_of(ingress="a#80#true##b#80#true")

    assert [(entry.rule, entry.severity) for entry in found] == [
        ("W-MESH-REPEATED-PORT", Severity.WARNING)
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("a#8080#true###b#80#true", "E-MESH-FIELDS", id="three-hashes"),
        pytest.param("a", "E-MESH-FIELDS", id="one-field"),
        pytest.param("a#80", "E-MESH-FIELDS", id="two-fields"),
        pytest.param("a#80#true#x", "E-MESH-FIELDS", id="four-fields"),
        pytest.param("a#b#80#true", "E-MESH-FIELDS", id="hash-in-name"),
        pytest.param("#80#true", "E-MESH-NAME", id="empty-name"),
        pytest.param("a#abc#true", "E-MESH-PORT", id="port-word"),
        pytest.param("a##true", "E-MESH-FIELDS", id="port-empty"),
        pytest.param("a#-1#true", "E-MESH-PORT", id="port-negative"),
        pytest.param("a#+80#true", "E-MESH-PORT", id="port-sign"),
        pytest.param("a#70000#true", "E-MESH-PORT", id="port-wraps"),
        pytest.param("a#65536#true", "E-MESH-PORT", id="port-one-too-many"),
        pytest.param("a#0#true", "E-MESH-PORT", id="port-zero"),
        pytest.param("a#080#true", "E-MESH-PORT", id="port-leading-zero"),
        pytest.param("a#\u0661#true", "E-MESH-PORT", id="port-other-digits"),
        pytest.param("a#15006#true", "E-MESH-RESERVED-PORT", id="port-mtls-listener"),
        pytest.param("a#15007#false", "E-MESH-RESERVED-PORT", id="port-tls-listener"),
        pytest.param("a#80#yes", "E-MESH-FLAG", id="flag-word"),
        pytest.param("a#80#tRUE", "E-MESH-FLAG", id="flag-case"),
        pytest.param("a#80#", "E-MESH-FLAG", id="flag-empty"),
        pytest.param(" a#80#true", "E-MESH-BLANK", id="leading-blank"),
        pytest.param("a#80#true\n", "E-MESH-BLANK", id="block-scalar"),
        pytest.param("a#80 #true", "E-MESH-BLANK", id="inner-blank"),
        pytest.param("a#80#true##b#80#false", "E-MESH-INGRESS-CONFLICT", id="two-flags"),
    ],
)
def test_a_bad_ingress_entry_is_refused(text: str, rule: str) -> None:
    with pytest.raises(MeshError) as error:
        parse_ingress(text)

    assert rule in {problem.rule for problem in error.value.problems}
    assert str(error.value).startswith(INGRESS)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param("a#127.0.0.1:80", "E-MESH-FIELDS", id="two-fields"),
        pytest.param("a#127.0.0.1:80#b:1#c", "E-MESH-FIELDS", id="four-fields"),
        pytest.param("#127.0.0.1:80#b:1", "E-MESH-NAME", id="empty-name"),
        pytest.param("a#localhost:80#b:1", "E-MESH-LISTEN", id="listen-host-name"),
        pytest.param("a#127.0.0.1#b:1", "E-MESH-LISTEN", id="listen-without-port"),
        pytest.param("a##b:1", "E-MESH-FIELDS", id="listen-empty"),
        pytest.param("a#10.0.0.1:80#b:1", "E-MESH-LISTEN", id="listen-outside-loopback"),
        pytest.param("a#0.0.0.0:80#b:1", "E-MESH-LISTEN", id="listen-wildcard"),
        pytest.param("a#[::1]:80#b:1", "E-MESH-LISTEN", id="listen-ipv6-loopback"),
        pytest.param("a#[::ffff:127.0.0.1]:80#b:1", "E-MESH-LISTEN", id="listen-mapped"),
        pytest.param("a#127.0.0.01:80#b:1", "E-MESH-LISTEN", id="listen-leading-zero"),
        pytest.param("a#[127.0.0.1]:80#b:1", "E-MESH-LISTEN", id="listen-in-brackets"),
        pytest.param("a#127.0.0.1]:80#b:1", "E-MESH-LISTEN", id="listen-half-bracket"),
        pytest.param("a#127.0.0.1:0#b:1", "E-MESH-PORT", id="listen-port-zero"),
        pytest.param("a#127.0.0.1:70000#b:1", "E-MESH-PORT", id="listen-port-wraps"),
        pytest.param("a#127.0.0.1:15006#b:1", "E-MESH-RESERVED-PORT", id="listen-mtls-port"),
        pytest.param("a#127.0.0.1:15007#b:1", "E-MESH-RESERVED-PORT", id="listen-tls-port"),
        pytest.param("a#127.0.0.1:80#b", "E-MESH-REMOTE", id="remote-without-port"),
        pytest.param("a#127.0.0.1:80#", "E-MESH-REMOTE", id="remote-empty"),
        pytest.param("a#127.0.0.1:80#:8080", "E-MESH-REMOTE", id="remote-without-host"),
        pytest.param("a#127.0.0.1:80#b:70000", "E-MESH-PORT", id="remote-port-wraps"),
        pytest.param("a#127.0.0.1:80#b:0", "E-MESH-PORT", id="remote-port-zero"),
        pytest.param("a#127.0.0.1:80#fd00::1:80", "E-MESH-REMOTE", id="remote-ipv6-bare"),
        pytest.param("a#127.0.0.1:80#[fd00::g]:80", "E-MESH-REMOTE", id="remote-ipv6-bad"),
        pytest.param("a#127.0.0.1:80#[fe80::1%eth0]:80", "E-MESH-REMOTE", id="remote-ipv6-zone"),
        pytest.param("a#127.0.0.1:80#10.0.0.300:80", "E-MESH-REMOTE", id="remote-ipv4-bad"),
        pytest.param("a#127.0.0.1:80#b_$:80", "E-MESH-REMOTE", id="remote-name-bad"),
        pytest.param("a#127.0.0.1:80#*.b:80", "E-MESH-REMOTE", id="remote-wildcard"),
        pytest.param("a#127.0.0.1:80#b:1##a#127.0.0.2:80#b:1", "E-MESH-DUPLICATE", id="name-twice"),
        pytest.param(
            "a#127.0.0.1:80#b:1##c#127.0.0.1:80#b:1", "E-MESH-DUPLICATE", id="listen-twice"
        ),
        pytest.param("ingress#127.0.0.1:80#b:1", "E-MESH-RESERVED-NAME", id="name-ingress"),
        pytest.param(
            "ingressWithoutClientAuth#127.0.0.1:80#b:1",
            "E-MESH-RESERVED-NAME",
            id="name-ingress-tls",
        ),
        pytest.param("IngressCluster#127.0.0.1:80#b:1", "E-MESH-RESERVED-NAME", id="name-cluster"),
        pytest.param("BlackHoleCluster#127.0.0.1:80#b:1", "E-MESH-RESERVED-NAME", id="name-hole"),
        pytest.param("a#127.0.0.1:80#b:1 ", "E-MESH-BLANK", id="trailing-blank"),
    ],
)
def test_a_bad_egress_entry_is_refused(text: str, rule: str) -> None:
    with pytest.raises(MeshError) as error:
        parse_egress(text)

    assert rule in {problem.rule for problem in error.value.problems}
    assert str(error.value).startswith(EGRESS)


@pytest.mark.parametrize("text", ["abc", "0", "-1", "65536", "+1", "9901 ", "15006", "15007"])
def test_a_bad_admin_port_is_refused(text: str) -> None:
    with pytest.raises(MeshError, match=ADMIN_PORT):
        parse_admin_port(text)


@pytest.mark.parametrize(
    "annotations",
    [
        pytest.param({"ingress": "a#9901#false", "admin_port": "9901"}, id="ingress"),
        pytest.param({"egress": "a#127.0.0.1:9901#b:1", "admin_port": "9901"}, id="egress"),
    ],
)
def test_the_admin_port_is_nobody_elses(annotations: dict[str, str]) -> None:
    assert [entry.rule for entry in problems_of(**annotations)] == ["E-MESH-RESERVED-PORT"]


def test_the_admin_port_may_be_exempted_from_the_mesh() -> None:
    assert problems_of(ingress="admin#9901#true", admin_port="9901") == []


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
    with pytest.raises(MeshError):
        parse_mesh(**annotations)


def test_every_problem_is_collected_with_entry_and_field() -> None:
    found = problems_of(ingress="a#0#maybe##b#1#true#x", egress="c#10.0.0.1:0#:9")

    assert [(entry.key, entry.entry, entry.field, entry.rule) for entry in found] == [
        (INGRESS, 1, "port", "E-MESH-PORT"),
        (INGRESS, 1, "flag", "E-MESH-FLAG"),
        (INGRESS, 2, "", "E-MESH-FIELDS"),
        (EGRESS, 1, "listen address", "E-MESH-LISTEN"),
        (EGRESS, 1, "listen port", "E-MESH-PORT"),
        (EGRESS, 1, "remote", "E-MESH-REMOTE"),
    ]


def test_a_problem_says_key_entry_field_found_and_wanted() -> None:
    with pytest.raises(MeshError) as error:
        parse_ingress("web#70000#false")

    assert str(error.value) == (
        "contrast.edgeless.systems/servicemesh-ingress entry 1 port: "
        "found '70000', expected a port from 1 to 65535 in plain digits"
    )
