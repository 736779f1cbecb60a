"""The variables that tell a container where the Services of its namespace are.

Source: Kubernetes, pkg/kubelet/envvars; docs/internals/reality.md 1.8.
"""

from collections.abc import Iterator
from typing import NamedTuple

from contrast_tasks.decode import Json
from contrast_tasks.runtime.node import Node
from contrast_tasks.runtime.objects import Namespace, child, entries, number, text

_API_SERVER = "kubernetes"


class Port(NamedTuple):
    """One port of a Service; protocol: in capitals, as in Kubernetes."""

    name: str
    number: int
    protocol: str


def service_variables(namespace: Namespace, node: Node, *, links: bool) -> dict[str, str]:
    """Return the variables of the API server and, with links, of each Service that has an address."""
    address, port = node.api_server
    found = dict(_variables(_API_SERVER, address, [Port("https", port, "TCP")]))
    for service in namespace.services() if links else ():
        spec = child(service, "spec")
        own = text(spec, "clusterIP")
        ports = [_port(each) for each in entries(spec, "ports")]
        if own and own != "None" and ports:
            found |= _variables(text(child(service, "metadata"), "name"), own, ports)
    return found


def _port(place: Json) -> Port:
    return Port(
        text(place, "name"), number(place, "port") or 0, text(place, "protocol", "TCP").upper()
    )


def _variables(service: str, address: str, ports: list[Port]) -> Iterator[tuple[str, str]]:
    prefix = _upper(service)
    yield f"{prefix}_SERVICE_HOST", address
    yield f"{prefix}_SERVICE_PORT", str(ports[0].number)
    for port in ports:
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{_upper(port.name)}", str(port.number)
    host = f"[{address}]" if ":" in address else address
    for index, port in enumerate(ports):
        protocol = port.protocol.lower()
        url = f"{protocol}://{host}:{port.number}"
        if index == 0:
            yield f"{prefix}_PORT", url
        own = f"{prefix}_PORT_{port.number}_{port.protocol}"
        yield own, url
        yield f"{own}_PROTO", protocol
        yield f"{own}_PORT", str(port.number)
        yield f"{own}_ADDR", address


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
