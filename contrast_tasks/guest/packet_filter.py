"""The packet filter of a pod with the mesh: Envoy's rules first, then the end of the guest's rule against everybody.

At no moment is the application reachable past Envoy: the guest's rule is lifted only after the new ones were read back, and
what is redirected to an Envoy that does not run is dropped. Source: docs/internals/service-mesh.md 4-6.
"""

import socket
from collections.abc import Sequence
from pathlib import Path

from contrast_tasks.guest.process import Say
from contrast_tasks.mesh.interception import Interception, closed_ipv6, ingress_rules
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.packet_filter.deny import lift_deny, told
from contrast_tasks.packet_filter.tools import (
    PacketFilterError,
    Tool,
    ToolFailed,
    find_tools,
    write_with_first,
)

# 1 where IPv6 is switched off for every interface; not there if the kernel has none.
_IPV6_SWITCH = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")


def intercept(
    config: MeshConfig,
    say: Say,
    *,
    ipv4: Sequence[Tool] | None = None,
    ipv6: Sequence[Tool] | None = None,
    ipv6_switch: Path = _IPV6_SWITCH,
) -> Interception:
    """Bring incoming connections to Envoy, then lift the guest's rule; calling it again changes nothing.

    ipv4, ipv6: the tools, by default those installed. Raises PacketFilterError, and the guest's rule stays.
    """
    tools = find_tools("IPv4") if ipv4 is None else ipv4
    more = find_tools("IPv6") if ipv6 is None else ipv6
    is_transparent = True
    if config.has_ingress:
        is_transparent = _write_ipv4(config, tools, say)
        _write_ipv6(config, more, ipv6_switch, say, is_transparent=is_transparent)
    removed = lift_deny(tools, more)
    say(f"the packet filter is set, {told(removed)}")
    return Interception(is_transparent=is_transparent, dual_stack=has_ipv6_sockets())


def _write_ipv4(config: MeshConfig, tools: Sequence[Tool], say: Say) -> bool:
    """Return whether it is TPROXY that brings connections to Envoy."""
    failures = []
    for is_transparent in (True, False):
        rules = ingress_rules(config, is_transparent=is_transparent)
        try:
            if rules is not None:
                write_with_first(rules, tools)
        except ToolFailed as err:
            failures.append(str(err))
        else:
            if failures:
                say(f"redirecting without TPROXY: {failures[0]}")
            return is_transparent
    raise PacketFilterError(
        f"cannot bring incoming connections to envoy: {failures[0]}; without TPROXY: {failures[1]}",
        hint="the image needs iptables-legacy, the container NET_ADMIN, the guest's kernel TPROXY or REDIRECT, and conntrack",
    )


def _write_ipv6(
    config: MeshConfig, tools: Sequence[Tool], switch: Path, say: Say, *, is_transparent: bool
) -> None:
    """Bring IPv6 connections to Envoy the same way, or let none in."""
    reasons = []
    for rules in (ingress_rules(config, is_transparent=is_transparent), closed_ipv6()):
        try:
            if rules is not None:
                write_with_first(rules, tools)
        except ToolFailed as err:
            reasons.append(str(err))
        else:
            if reasons:
                say(f"IPv6 connections are dropped, because {reasons[0]}")
            return
    # Whether the pod has an address now says little: the host may send one later, and is on the same link.
    if _is_on(switch):
        raise PacketFilterError(
            f"IPv6 connections can be neither brought to envoy nor dropped: {'; '.join(reasons)}",
            hint="the image needs ip6tables-legacy, or the guest no IPv6 (net.ipv6.conf.all.disable_ipv6=1)",
        )


def _is_on(switch: Path) -> bool:
    try:
        return switch.read_text(encoding="ascii").strip() != "1"
    except FileNotFoundError:
        return False


def has_ipv6_sockets() -> bool:
    """Return whether a listener on `::` can be opened, which a kernel without IPv6 refuses."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::", 0))
    except OSError:
        return False
    return True
