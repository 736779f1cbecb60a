"""The order in which a pod's packet filter changes, and what happens where kernel or tool lack something."""

from pathlib import Path

import pytest

from contrast_tasks.guest.packet_filter import intercept
from contrast_tasks.mesh.interception import Interception
from contrast_tasks.packet_filter.tools import PacketFilterError
from tests.fakes.iptables import DENY, Kernel
from tests.fakes.mesh import mesh_of


class Guest:
    """A guest with its rule set, an IPv4 and an IPv6 side, and IPv6 switched on."""

    def __init__(self, folder: Path) -> None:
        self.four, self.six = Kernel(tables={"filter": [DENY]}), Kernel()
        self.switch = folder / "disable_ipv6"
        self.switch.write_text("0\n")
        self.said: list[str] = []

    def intercept(self, ingress: str = "") -> Interception:
        return intercept(
            mesh_of(ingress=ingress),
            self.said.append,
            ipv4=[self.four.tool()],
            ipv6=[self.six.tool("/usr/sbin/ip6tables-legacy", "IPv6")],
            ipv6_switch=self.switch,
        )

    @property
    def is_closed(self) -> bool:
        return DENY in self.four.tables["filter"]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    return Guest(tmp_path)


def test_both_families_lead_to_envoy_and_the_guests_rule_is_gone(guest: Guest) -> None:
    assert guest.intercept().is_transparent

    assert not guest.is_closed
    for kernel in (guest.four, guest.six):
        assert kernel.tables["mangle"][0] == "-A PREROUTING -p tcp -j CONTRAST_INBOUND"


def test_a_second_run_changes_nothing(guest: Guest) -> None:
    guest.intercept("web#8443#false")
    before = [list(guest.four.tables["mangle"]), list(guest.six.tables["mangle"])]

    guest.intercept("web#8443#false")

    assert [guest.four.tables["mangle"], guest.six.tables["mangle"]] == before
    assert guest.said[-1] == "the packet filter is set, the guest's rule was not there"


def test_without_tproxy_connections_are_redirected(guest: Guest) -> None:
    guest.four.refused["TPROXY"] = "No chain/target/match by that name."

    assert not guest.intercept().is_transparent

    assert "nat" in guest.four.tables
    assert any("REDIRECT --to-ports 15006" in rule for rule in guest.six.tables["nat"])
    assert not guest.is_closed


def test_where_nothing_can_be_redirected_the_guests_rule_stays(guest: Guest) -> None:
    guest.four.refused = {"TPROXY": "No target by that name.", "REDIRECT": "No table nat."}

    with pytest.raises(
        PacketFilterError, match=r"No target by that name.*without TPROXY.*No table"
    ):
        guest.intercept()

    assert guest.is_closed


def test_rules_that_are_not_there_afterwards_are_an_error_and_the_guests_rule_stays(
    guest: Guest,
) -> None:
    guest.four.is_forgetful = True

    with pytest.raises(PacketFilterError, match="the first rule of PREROUTING is not"):
        guest.intercept()

    assert guest.is_closed


def test_ipv6_that_cannot_be_redirected_is_dropped(guest: Guest) -> None:
    guest.six.refused["*mangle"] = "Table does not exist"

    guest.intercept()

    assert guest.six.tables["filter"] == [
        "-A INPUT -p tcp -j CONTRAST_NO_IPV6",
        "-A CONTRAST_NO_IPV6 -p tcp -i lo -j RETURN",
        "-A CONTRAST_NO_IPV6 -p tcp --tcp-flags FIN,SYN,RST,ACK SYN -j DROP",
    ]
    assert guest.said[0] == (
        "IPv6 connections are dropped, because ip6tables-legacy-restore: Table does not exist"
    )


def test_ipv6_that_cannot_be_filtered_at_all_ends_the_sidecar(guest: Guest) -> None:
    guest.six.refused["-t"] = "Table does not exist"

    with pytest.raises(PacketFilterError, match="neither brought to envoy nor dropped"):
        guest.intercept()

    assert guest.is_closed


@pytest.mark.parametrize("state", ["1\n", None], ids=["switched off", "not in the kernel"])
def test_ipv6_that_does_not_exist_needs_no_filter(guest: Guest, state: str | None) -> None:
    guest.six.refused["-t"] = "Table does not exist"
    guest.switch.unlink()
    if state is not None:
        guest.switch.write_text(state)

    guest.intercept()

    assert not guest.is_closed


def test_with_ingress_disabled_the_guests_rule_is_lifted_and_nothing_redirected(
    guest: Guest,
) -> None:
    guest.intercept("DISABLED")

    assert (guest.four.tables, guest.six.tables) == ({"filter": []}, {"filter": []})
