"""Lifting the guest's rule against incoming connections, with each variant of iptables."""

from pathlib import Path

import pytest

from contrast_tasks.errors import SettingsError
from contrast_tasks.packet_filter.deny import close_ipv6, is_in_guest, lift_deny, told
from contrast_tasks.packet_filter.tools import PacketFilterError
from tests.fakes.iptables import DENY, DENY_6, Kernel

LEGACY, NFT = "/usr/sbin/iptables-legacy", "/usr/sbin/iptables-nft"
OTHER = "-A INPUT -p icmp -j ACCEPT"


def test_the_rule_is_lifted_by_the_variant_that_set_it(tmp_path: Path) -> None:
    legacy, nft = Kernel(), Kernel(tables={"filter": [OTHER, DENY]})

    removed = lift_deny([legacy.tool(LEGACY), nft.tool(NFT)], [], legacy_tables=tmp_path / "no")

    assert (removed, nft.tables) == (1, {"filter": [OTHER]})


def test_a_rule_that_is_there_three_times_is_lifted_three_times(tmp_path: Path) -> None:
    legacy = Kernel(tables={"filter": [DENY, OTHER, DENY, DENY]})

    assert lift_deny([legacy.tool(LEGACY)], [], legacy_tables=tmp_path / "no") == 3
    assert legacy.tables == {"filter": [OTHER]}


def test_that_there_is_no_such_rule_is_fine(tmp_path: Path) -> None:
    assert lift_deny([Kernel().tool(LEGACY)], [], legacy_tables=tmp_path / "no") == 0


def test_a_variant_without_its_part_of_the_kernel_does_not_matter(tmp_path: Path) -> None:
    legacy = Kernel(refused={"-S": "can't initialize table `filter': Table does not exist"})
    nft = Kernel(tables={"filter": [DENY]})

    removed = lift_deny([legacy.tool(LEGACY), nft.tool(NFT)], [], legacy_tables=tmp_path / "no")

    assert removed == 1


def test_without_the_right_to_it_the_error_names_every_variant() -> None:
    kernels = [Kernel(refused={"-S": "Permission denied (you must be root)"}) for _ in range(2)]

    with pytest.raises(PacketFilterError, match=r"iptables-legacy: Perm.*iptables-nft: Perm"):
        lift_deny([kernels[0].tool(LEGACY), kernels[1].tool(NFT)], [])


def test_without_any_iptables_the_image_is_blamed() -> None:
    with pytest.raises(PacketFilterError, match="no iptables is installed") as caught:
        lift_deny([], [])

    assert "the image needs iptables-legacy" in caught.value.hint


@pytest.mark.parametrize("program", [NFT, "/sbin/iptables"])
def test_a_guest_that_filters_with_the_variant_we_lack_is_found(
    tmp_path: Path, program: str
) -> None:
    tables = tmp_path / "ip_tables_names"
    tables.write_text("filter\n")

    with pytest.raises(PacketFilterError, match="filters with iptables-legacy, which is missing"):
        lift_deny([Kernel().tool(program)], [], legacy_tables=tables)


def test_a_rule_that_stays_is_an_error(tmp_path: Path) -> None:
    legacy = Kernel(tables={"filter": [DENY]}, is_forgetful=True)

    with pytest.raises(PacketFilterError, match="still there"):
        lift_deny([legacy.tool(LEGACY)], [], legacy_tables=tmp_path / "no")


def test_a_rule_that_may_not_be_lifted_is_an_error_although_another_variant_answers() -> None:
    legacy = Kernel(tables={"filter": [DENY]}, refused={"-D": "Resource temporarily unavailable"})

    with pytest.raises(PacketFilterError, match="temporarily unavailable"):
        lift_deny([legacy.tool(LEGACY), Kernel().tool(NFT)], [])


def test_the_same_rule_for_ipv6_is_lifted_too(tmp_path: Path) -> None:
    six = Kernel(tables={"filter": [DENY]})

    lift_deny(
        [Kernel().tool(LEGACY)],
        [six.tool("/usr/sbin/ip6tables-legacy", "IPv6")],
        legacy_tables=tmp_path / "no",
    )

    assert six.tables == {"filter": []}


def test_ipv6_is_closed_once_and_opened_with_the_rest(tmp_path: Path) -> None:
    six = Kernel()
    tool = six.tool("/usr/sbin/ip6tables-legacy", "IPv6")

    assert close_ipv6([tool])
    assert close_ipv6([tool])
    closed = list(six.tables["filter"])
    lift_deny([Kernel().tool(LEGACY)], [tool], legacy_tables=tmp_path / "no")

    assert (closed, six.tables["filter"]) == ([DENY_6], [])


def test_ipv6_that_cannot_be_closed_is_told() -> None:
    six = Kernel(refused={"-S": "Table does not exist"})

    assert not close_ipv6([six.tool("/usr/sbin/ip6tables-legacy", "IPv6")])


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"CONTRAST_EVIDENCE": "hardware"}, True),
        ({"CONTRAST_EVIDENCE": "simulated:/p"}, False),
        ({"CONTRAST_EVIDENCE": "simulated:/p", "CONTRAST_PACKET_FILTER": "on"}, True),
        ({"CONTRAST_PACKET_FILTER": "off"}, False),
    ],
)
def test_only_a_guests_packet_filter_is_ours(environ: dict[str, str], expected: bool) -> None:
    assert is_in_guest(environ) is expected


def test_another_value_of_the_switch_is_refused() -> None:
    with pytest.raises(SettingsError, match="CONTRAST_PACKET_FILTER is 'yes', wanted on or off"):
        is_in_guest({"CONTRAST_PACKET_FILTER": "yes"})


def test_how_often_the_rule_was_there_is_told_in_words() -> None:
    assert [told(removed) for removed in (0, 1, 3)] == [
        "the guest's rule was not there",
        "the guest's rule was there once",
        "the guest's rule was there 3 times",
    ]
