"""The rules of a pod against those of docs/internals/service-mesh.md 5."""

from contrast_tasks.mesh.interception import ingress_rules
from tests.fakes.mesh import mesh_of

INGRESS = "web#8443#false##metrics#9090#true"


def lines(*, is_transparent: bool = True, ingress: str = INGRESS) -> list[str]:
    rules = ingress_rules(mesh_of(ingress=ingress), is_transparent=is_transparent)
    assert rules is not None
    return rules.transaction([]).splitlines()


def test_listed_ports_come_in_their_order_before_the_rest() -> None:
    assert lines() == [
        "*mangle",
        ":CONTRAST_INBOUND - [0:0]",
        ":CONTRAST_IN_REDIRECT - [0:0]",
        "-A CONTRAST_INBOUND -p tcp -i lo -j RETURN",
        "-A CONTRAST_INBOUND -p tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate RELATED,ESTABLISHED --ctdir REPLY -j RETURN",
        "-A CONTRAST_INBOUND -p tcp -j CONTRAST_IN_REDIRECT",
        "-A CONTRAST_IN_REDIRECT -p tcp --dport 8443 -j TPROXY --on-port 15007",
        "-A CONTRAST_IN_REDIRECT -p tcp --dport 9090 -j RETURN",
        "-A CONTRAST_IN_REDIRECT -p tcp -j TPROXY --on-port 15006",
        "-I PREROUTING 1 -p tcp -j CONTRAST_INBOUND",
        "COMMIT",
    ]


def test_without_tproxy_the_table_nat_redirects_the_same_ports() -> None:
    assert [line for line in lines(is_transparent=False) if "15007" in line or "15006" in line] == [
        "-A CONTRAST_IN_REDIRECT -p tcp --dport 8443 -j REDIRECT --to-ports 15007",
        "-A CONTRAST_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006",
    ]
    assert lines(is_transparent=False)[0] == "*nat"


def test_without_annotation_every_port_needs_a_client_certificate() -> None:
    assert [line for line in lines(ingress="") if line.startswith("-A CONTRAST_IN_R")] == [
        "-A CONTRAST_IN_REDIRECT -p tcp -j TPROXY --on-port 15006"
    ]


def test_with_ingress_disabled_nothing_is_redirected() -> None:
    assert ingress_rules(mesh_of(ingress="DISABLED")) is None
