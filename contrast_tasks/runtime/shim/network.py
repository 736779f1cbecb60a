"""The requests that give a guest its network (docs/internals/policy.md 4.9)."""

from collections.abc import Iterator
from ipaddress import ip_interface, ip_network
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request, fill_defaults
from contrast_tasks.records import Record

# State of a neighbour that never expires. Source: linux/neighbour.h.
_PERMANENT = 0x80


class Route(NamedTuple):
    """A route; scope: as the kernel numbers it, 253 for hosts on the same link."""

    destination: str
    gateway: str = ""
    source: str = ""
    scope: int = 0


class Network(Record):
    """What the pod's network namespace holds when the shim looks: one interface, its routes and permanent neighbours.

    addresses: with prefix length. routes: without those that the kernel adds itself. neighbours: (address, MAC).
    """

    device: str = "eth0"
    mac: str = "02:42:0a:f4:00:0e"
    mtu: int = 1450
    addresses: tuple[str, ...] = ("10.244.0.14/24", "fe80::42:aff:fef4:e/64")
    routes: tuple[Route, ...] = (
        Route("0.0.0.0/0", gateway="10.244.0.1"),
        Route("10.244.0.0/24", gateway="10.244.0.1", source="10.244.0.14"),
        Route("10.244.0.1/32", source="10.244.0.14", scope=253),
    )
    neighbours: tuple[tuple[str, str], ...] = (("10.244.0.1", "ee:ee:ee:ee:ee:ee"),)


def network_requests(network: Network) -> Iterator[Request]:
    """Yield the requests; one about neighbours only if there are any."""
    interface = {
        "device": network.device,
        "name": network.device,
        "IPAddresses": [_address(each) for each in network.addresses],
        "mtu": network.mtu,
        "hwAddr": network.mac,
        "type_": "virtual",
    }
    yield _request("UpdateInterfaceRequest", f"configure {network.device}", interface=interface)
    routes = [
        {
            "dest": each.destination,
            "gateway": each.gateway,
            "device": network.device,
            "source": each.source,
            "scope": each.scope,
            "family": _family(ip_network(each.destination).version),
        }
        for each in network.routes
    ]
    yield _request("UpdateRoutesRequest", "set routes", routes={"Routes": routes})
    neighbours = [
        {
            "toIPAddress": {"address": address, "family": _family(ip_interface(address).version)},
            "device": network.device,
            "lladdr": mac,
            "state": _PERMANENT,
        }
        for address, mac in network.neighbours
    ]
    if neighbours:
        yield _request(
            "AddARPNeighborsRequest", "set neighbours", neighbors={"ARPNeighbors": neighbours}
        )


def _address(text: str) -> dict[str, Any]:
    address, _, length = text.partition("/")
    return {"family": _family(ip_interface(text).version), "address": address, "mask": length}


def _family(version: int) -> int:
    return 0 if version == 4 else 1  # noqa: PLR2004  # of the Internet Protocol


def _request(kind: str, purpose: str, **members: Any) -> Request:
    return Request(kind, fill_defaults(kind, members), purpose)
