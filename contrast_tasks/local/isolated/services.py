"""The Services of a node: their addresses, their names, and who is behind them now.

A Service's address belongs to the node, which relays each TCP connection, and the datagrams of each sender, to one of the pods
behind it; a headless Service is names only. As in a cluster, pods that are not ready are not behind a Service unless it publishes them.
"""

import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from contrast_tasks.decode import Json
from contrast_tasks.errors import ClusterError
from contrast_tasks.local.isolated.bridge import add_service_address
from contrast_tasks.local.isolated.datagrams import DatagramRelay
from contrast_tasks.local.isolated.names import Backend, ServiceName, Zone
from contrast_tasks.local.isolated.relay import Relay
from contrast_tasks.local.messages import Endpoint
from contrast_tasks.records import Record
from contrast_tasks.runtime.objects import child, entries, flag, strings, text

_BACKLOG: Final = 128
# SCTP is what Services have besides; it is not relayed.
_KINDS: Final = {"TCP": socket.SOCK_STREAM, "UDP": socket.SOCK_DGRAM}
_FIRST, _LAST = 1, 250

_Place = tuple[str, str, int]
"""Protocol, address and port of a Service."""


class ServedPod(Record):
    """A pod as Services see it; document: the Pod."""

    document: Any
    address: str
    address_6: str
    started: bool
    ready: bool


class Services:
    """All Services of one node."""

    def __init__(self) -> None:
        self._services: list[Json] = []
        self._pods: Sequence[ServedPod] = ()
        self._given: dict[tuple[str, str], str] = {}
        self._relays: dict[_Place, Relay | DatagramRelay] = {}
        self._targets: dict[_Place, tuple[Json, Json]] = {}
        self.zone = Zone(())

    async def apply(self, services: Iterable[Mapping[str, Any]]) -> None:
        """Serve these Services from now on. Raises ClusterError."""
        self._services = [Json(each) for each in services]
        wanted: dict[_Place, tuple[Json, Json]] = {}
        for service in self._services:
            address = self._address(service)
            if not address:
                continue
            for port in entries(child(service, "spec"), "ports"):
                protocol = text(port, "protocol", "TCP")
                if protocol in _KINDS:
                    wanted[protocol, address, port.at("port").integer()] = (service, port)
        for place in [each for each in self._relays if each not in wanted]:
            await self._relays.pop(place).close()
        self._targets = wanted
        for place in wanted:
            if place not in self._relays:
                self._relays[place] = await self._relay(place)
        self._rename()

    def pods_changed(self, pods: Sequence[ServedPod]) -> None:
        """Take notice of pods that came, went or changed."""
        self._pods = pods
        self._rename()

    def documents(self) -> tuple[Mapping[str, Any], ...]:
        """Return the Services with the addresses that they have here."""
        found = []
        for service in self._services:
            address = self._address(service)
            spec = {**child(service, "spec").value, **({"clusterIP": address} if address else {})}
            found.append({**service.value, "spec": spec})
        return tuple(found)

    async def close(self) -> None:
        """End all relays."""
        for relay in self._relays.values():
            await relay.close()
        self._relays.clear()

    def _address(self, service: Json) -> str:
        """Return the address of a Service, "" for one that has none: headless, or a name of somewhere else."""
        spec = child(service, "spec")
        own = text(spec, "clusterIP")
        if own == "None" or text(spec, "type") == "ExternalName":
            return ""
        key = _key(service)
        if key not in self._given:
            number = len(self._given)
            self._given[key] = own or f"10.96.{_FIRST + number // _LAST}.{1 + number % _LAST}"
        return self._given[key]

    async def _relay(self, place: _Place) -> Relay | DatagramRelay:
        protocol, address, port = place
        await add_service_address(address)
        listener = socket.socket(socket.AF_INET, _KINDS[protocol])
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            if protocol == "TCP":
                listener.listen(_BACKLOG)
        except OSError as err:
            listener.close()
            raise ClusterError(f"the node cannot serve {address}:{port}: {err.strerror}") from err
        if protocol == "TCP":
            return Relay(listener, lambda: self._endpoints(place))
        return await DatagramRelay.open(listener, lambda: self._endpoints(place))

    def _endpoints(self, place: _Place) -> list[Endpoint]:
        service, port = self._targets[place]
        found = [(pod.address, _target(pod, port)) for pod in self._behind(service)]
        return [(address, number) for address, number in found if number is not None]

    def _behind(self, service: Json) -> list[ServedPod]:
        spec = child(service, "spec")
        selector = strings(spec, "selector")
        unready = flag(spec, "publishNotReadyAddresses")
        return [
            pod
            for pod in self._pods
            if selector
            and (pod.ready or unready)
            and _namespace(Json(pod.document)) == _namespace(service)
            and selector.items() <= strings(child(Json(pod.document), "metadata"), "labels").items()
        ]

    def _rename(self) -> None:
        self.zone = Zone(self._named(service) for service in self._services)

    def _named(self, service: Json) -> ServiceName:
        namespace, name = _key(service)
        spec = child(service, "spec")
        backends = []
        for pod in self._behind(service):
            own = child(Json(pod.document), "spec")
            label = text(own, "hostname") if text(own, "subdomain") == name else ""
            backends.append(Backend(name=label, address=pod.address, address_6=pod.address_6))
        return ServiceName(
            name=name,
            namespace=namespace,
            address=self._address(service),
            ports=tuple(
                (text(each, "name"), text(each, "protocol", "TCP"), each.at("port").integer())
                for each in entries(spec, "ports")
            ),
            backends=tuple(backends),
        )


def _key(service: Json) -> tuple[str, str]:
    return _namespace(service), text(child(service, "metadata"), "name")


def _namespace(document: Json) -> str:
    return text(child(document, "metadata"), "namespace", "default")


def _target(pod: ServedPod, port: Json) -> int | None:
    """Return the port of a pod that a Service's port leads to, None if the pod has no port of that name."""
    wanted = port.get("targetPort") or port.at("port")
    if isinstance(wanted.value, int):
        return wanted.integer()
    for container in entries(child(Json(pod.document), "spec"), "containers"):
        for own in entries(container, "ports"):
            if text(own, "name") == wanted.value:
                return own.at("containerPort").integer()
    return int(wanted.text()) if wanted.text().isdecimal() else None
