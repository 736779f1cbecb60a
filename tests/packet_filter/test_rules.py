"""Rules against what iptables 1.8.9 prints of them, both variants alike."""

import pytest

from contrast_tasks.packet_filter.rules import Rule, RuleSet, parse_listing

RULES = RuleSet(
    table="mangle",
    entry=Rule("PREROUTING", ("-p", "tcp", "-j", "OURS")),
    chains={
        "OURS": (
            Rule("OURS", ("-p", "tcp", "-i", "lo", "-j", "RETURN")),
            Rule(
                "OURS",
                (
                    *("-p", "tcp", "!", "--tcp-flags", "FIN,SYN,RST,ACK", "SYN"),
                    *("-m", "conntrack", "--ctstate", "ESTABLISHED,RELATED", "-j", "RETURN"),
                ),
            ),
            Rule("OURS", ("-p", "tcp", "--dport", "80", "-j", "TPROXY", "--on-port", "15007")),
        )
    },
)
# Printed by `iptables-legacy -t mangle -S` and `iptables-nft -t mangle -S`.
PRINTED = """\
-P PREROUTING ACCEPT
-P INPUT ACCEPT
-N OURS
-A PREROUTING -p tcp -j OURS
-A OURS -i lo -p tcp -j RETURN
-A OURS -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate RELATED,ESTABLISHED -j RETURN
-A OURS -p tcp -m tcp --dport 80 -j TPROXY --on-port 15007 --on-ip 0.0.0.0 --tproxy-mark 0x0/0x0
"""


def test_what_was_written_is_recognised_in_what_iptables_prints() -> None:
    assert RULES.difference(parse_listing(PRINTED)) == ""


def test_what_ip6tables_prints_is_recognised_too() -> None:
    assert RULES.difference(parse_listing(PRINTED.replace("0.0.0.0", "::"))) == ""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("! --tcp-flags", "--tcp-flags", "chain OURS has 3 rules"),
        ("--dport 80", "--dport 81", "chain OURS has 3 rules"),
        ("15007", "15006", "chain OURS has 3 rules"),
        ("--on-ip 0.0.0.0", "--on-ip 10.0.0.1", "chain OURS has 3 rules"),
        ("0x0/0x0", "0x1/0x1", "chain OURS has 3 rules"),
        ("-A OURS -i lo -p tcp -j RETURN\n", "", "chain OURS has 2 rules"),
        ("-A OURS -i lo", "-A OURS -p udp -j RETURN\n-A OURS -i lo", "chain OURS has 4 rules"),
        ("-A PREROUTING -p tcp -j OURS\n", "", "the first rule of PREROUTING"),
        (
            "-A PREROUTING",
            "-A PREROUTING -p tcp -j ACCEPT\n-A PREROUTING",
            "the first rule of PREROUTING is not `-A PREROUTING -p tcp -j OURS`",
        ),
    ],
)
def test_every_other_rule_is_seen(old: str, new: str, said: str) -> None:
    listing = PRINTED.replace(old, new, 1)

    assert listing != PRINTED
    assert said in RULES.difference(parse_listing(listing))


def test_rules_in_another_order_are_others() -> None:
    first, second = "-A OURS -i lo -p tcp -j RETURN\n", PRINTED.splitlines(keepends=True)[-1]
    listing = PRINTED.replace(second, "").replace(first, second + first)

    assert "chain OURS has 3 rules" in RULES.difference(parse_listing(listing))


def test_the_first_transaction_fills_the_chains_and_leads_there() -> None:
    assert RULES.transaction([]).splitlines() == [
        "*mangle",
        ":OURS - [0:0]",
        "-A OURS -p tcp -i lo -j RETURN",
        "-A OURS -p tcp ! --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        "-A OURS -p tcp --dport 80 -j TPROXY --on-port 15007",
        "-I PREROUTING 1 -p tcp -j OURS",
        "COMMIT",
    ]


def test_a_repeated_transaction_leads_there_once() -> None:
    lines = RULES.transaction(parse_listing(PRINTED)).splitlines()

    assert lines[-3:] == [
        "-D PREROUTING -p tcp -j OURS",
        "-I PREROUTING 1 -p tcp -j OURS",
        "COMMIT",
    ]
