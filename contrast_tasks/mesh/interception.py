"""The packet filter's rules that bring a pod's incoming connections to Envoy, the same for IPv4 and IPv6.

TPROXY hands a connection to Envoy with its destination unchanged, for which Envoy's listeners must be transparent. REDIRECT
does with fewer parts of the kernel: it changes the destination to Envoy, which asks for the original one.
Source: docs/internals/service-mesh.md 5.
"""

from typing import Final

from contrast_tasks.mesh.grammar import MTLS_PORT, TLS_PORT
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.packet_filter.rules import Rule, RuleSet
from contrast_tasks.records import Record

INBOUND: Final = "CONTRAST_INBOUND"
REDIRECT: Final = "CONTRAST_IN_REDIRECT"
CLOSED: Final = "CONTRAST_NO_IPV6"
_TCP: Final = ("-p", "tcp")
# Only the first packet of a connection has SYN without ACK.
_FIRST: Final = ("--tcp-flags", "FIN,SYN,RST,ACK", "SYN")
# Replies to connections that the pod has made. Whoever connects to the pod sends in the direction ORIGINAL, so a connection that
# the kernel still remembers is no way past Envoy for a new one between the same ports.
_REPLIES: Final = ("-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "--ctdir", "REPLY")


class Interception(Record):
    """How connections reach Envoy.

    is_transparent: with their destination unchanged. dual_stack: over IPv6 too.
    """

    is_transparent: bool = True
    dual_stack: bool = True


def ingress_rules(config: MeshConfig, *, is_transparent: bool = True) -> RuleSet | None:
    """Return the rules for one pod; None if its incoming connections are left alone."""
    if not config.has_ingress:
        return None

    def to(port: int) -> tuple[str, ...]:
        if is_transparent:
            return "-j", "TPROXY", "--on-port", str(port)
        return "-j", "REDIRECT", "--to-ports", str(port)

    exempt = [
        (
            *_TCP,
            "--dport",
            str(entry.port),
            *(("-j", "RETURN") if entry.mode == "plain" else to(TLS_PORT)),
        )
        for entry in config.ingress
    ]
    return RuleSet(
        table="mangle" if is_transparent else "nat",
        entry=Rule("PREROUTING", (*_TCP, "-j", INBOUND)),
        chains={
            INBOUND: (
                Rule(INBOUND, (*_TCP, "-i", "lo", "-j", "RETURN")),
                Rule(INBOUND, (*_TCP, "!", *_FIRST, *_REPLIES, "-j", "RETURN")),
                Rule(INBOUND, (*_TCP, "-j", REDIRECT)),
            ),
            REDIRECT: tuple(
                Rule(REDIRECT, options) for options in (*exempt, (*_TCP, *to(MTLS_PORT)))
            ),
        },
    )


def closed_ipv6() -> RuleSet:
    """Return the rules under which no IPv6 connection comes in, where none can be brought to Envoy."""
    return RuleSet(
        table="filter",
        entry=Rule("INPUT", (*_TCP, "-j", CLOSED)),
        chains={
            CLOSED: (
                Rule(CLOSED, (*_TCP, "-i", "lo", "-j", "RETURN")),
                Rule(CLOSED, (*_TCP, *_FIRST, "-j", "DROP")),
            )
        },
    )
