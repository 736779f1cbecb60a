"""The rule by which a guest drops every new incoming connection, from its start until one of the pod's containers lifts it.

A policy cannot enforce that the sidecar runs before the application, so without this rule a host could leave it out. The
Coordinator lifts it for itself, the initializer for a pod without a mesh, the sidecar once its own rules stand.
Source: docs/internals/service-mesh.md 6; docs/internals/releases.md 5.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from contrast_tasks import variables
from contrast_tasks.errors import SettingsError
from contrast_tasks.packet_filter.rules import Meaning, Rule
from contrast_tasks.packet_filter.tools import (
    PacketFilterError,
    Tool,
    ToolFailed,
    find_tools,
)

TABLE: Final = "filter"
DENY: Final = Rule(
    "INPUT", ("-m", "conntrack", "!", "--ctstate", "ESTABLISHED,RELATED", "-j", "DROP")
)
# Ours, for TCP over IPv6, which guests leave open. Without TCP it would drop the search for neighbours too.
DENY_IPV6: Final = Rule("INPUT", ("-p", "tcp", *DENY.options))
_SIMULATED: Final = "simulated:"
# Tables of the older part of the kernel, in this network namespace.
_LEGACY_TABLES: Final = Path("/proc/net/ip_tables_names")


def is_in_guest(environ: Mapping[str, str]) -> bool:
    """Return whether this process' network namespace is a guest's, so that its packet filter is ours to change.

    CONTRAST_PACKET_FILTER says it, on or off. Otherwise a process with evidence of a simulated processor is not in a guest:
    it would change the rules of the machine. Raises SettingsError for another value.
    """
    named = environ.get(variables.PACKET_FILTER, "")
    if named not in {"", "on", "off"}:
        raise SettingsError(f"{variables.PACKET_FILTER} is {named!r}, wanted on or off")
    if named:
        return named == "on"
    return not environ.get(variables.EVIDENCE, "").startswith(_SIMULATED)


def set_deny(tool: Tool) -> None:
    """Set the rule as a guest's own unit does; for what stands in for a guest."""
    tool.change(TABLE, DENY.line("-I"))


def close_ipv6(tools: Sequence[Tool] | None = None) -> bool:
    """Drop new TCP connections over IPv6 until `lift_deny`; return whether that could be done."""
    for tool in find_tools("IPv6") if tools is None else tools:
        try:
            if DENY_IPV6.meaning not in tool.list_rules(TABLE, DENY_IPV6.chain):
                tool.change(TABLE, DENY_IPV6.line("-I"))
        except ToolFailed:
            continue
        return True
    return False


def lift_deny(
    ipv4: Sequence[Tool] | None = None,
    ipv6: Sequence[Tool] | None = None,
    *,
    legacy_tables: Path = _LEGACY_TABLES,
) -> int:
    """Remove the rule wherever it is set, and return how often it was; that it is not there is fine.

    Each variant of iptables sees its own rules only, so all of them are asked. Guests set no such rule for IPv6; it is
    removed there too if somebody has, and so is that of `close_ipv6`. Raises PacketFilterError if the rule is still there, or nobody can tell.
    """
    tools = find_tools("IPv4") if ipv4 is None else ipv4
    removed, failures, answers = 0, [], []
    for tool in tools:
        try:
            listing = tool.list_rules(TABLE, DENY.chain)
        except ToolFailed as err:
            failures.append(str(err))
        else:
            removed += _remove(tool, listing, DENY)
            answers.append(tool)
    reason = "; ".join(failures)
    if not answers:
        raise PacketFilterError(
            f"cannot lift the guest's rule against incoming connections: {reason or 'no iptables is installed'}",
            hint="the image needs iptables-legacy, the container NET_ADMIN",
        )
    if TABLE in _names(legacy_tables) and not any(tool.is_legacy() for tool in answers):
        raise PacketFilterError(
            f"the guest filters with iptables-legacy, which is missing here: {reason or 'not installed'}",
            hint="the image needs iptables-legacy",
        )
    for tool in find_tools("IPv6") if ipv6 is None else ipv6:
        try:
            listing = tool.list_rules(TABLE, DENY.chain)
        except ToolFailed:
            # Without this part of the kernel there is no such rule.
            continue
        removed += _remove(tool, listing, DENY)
        _remove(tool, listing, DENY_IPV6)
    return removed


def told(removed: int) -> str:
    """Return in words how often `lift_deny` found the rule."""
    often = {0: "not there", 1: "there once"}.get(removed, f"there {removed} times")
    return f"the guest's rule was {often}"


def _remove(tool: Tool, listing: Sequence[Meaning], rule: Rule) -> int:
    """Return how often a rule was in the listing; it is nowhere afterwards."""
    count, reason = listing.count(rule.meaning), "it is still there"
    try:
        for _ in range(count):
            tool.change(TABLE, rule.line("-D"))
        is_gone = not count or rule.meaning not in tool.list_rules(TABLE, rule.chain)
    except ToolFailed as err:
        is_gone, reason = False, str(err)
    if not is_gone:
        raise PacketFilterError(
            f"{tool.name} did not lift the guest's rule against incoming connections: {reason}"
        )
    return count


def _names(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
