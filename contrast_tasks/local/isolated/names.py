"""The names of a node's cluster: Services, their ports, and pods of headless Services (Kubernetes DNS specification 1.1).

A table of absolute names without the last dot, in lower case, for one state of the cluster.
"""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from contrast_tasks.records import Record

DOMAIN: Final = "cluster.local"
_SERVICES: Final = f"svc.{DOMAIN}"


class Target(NamedTuple):
    """What an SRV record points to."""

    name: str
    port: int


class Answers(Record):
    """What there is under one name; all empty: the name exists and has nothing of the asked kind."""

    addresses: tuple[str, ...] = ()
    addresses_6: tuple[str, ...] = ()
    targets: tuple[Target, ...] = ()


class Backend(Record):
    """A pod behind a Service; name: its own label below a headless Service, "" without one."""

    name: str
    address: str
    address_6: str


class ServiceName(Record):
    """One Service as far as names go; address: "" for a headless one. ports: (name, protocol, port)."""

    name: str
    namespace: str
    address: str
    ports: tuple[tuple[str, str, int], ...]
    backends: tuple[Backend, ...]


class Zone:
    """All names below the cluster's domain."""

    def __init__(self, services: Iterable[ServiceName]) -> None:
        self._names: dict[str, Answers] = {}
        for service in services:
            self._add(service)
        # The names above those that exist do exist.
        for name in list(self._names):
            parent = name
            while parent and parent != DOMAIN:
                parent = parent.partition(".")[2]
                self._names.setdefault(parent, Answers())
        self._names.setdefault(DOMAIN, Answers())

    def find(self, name: str) -> Answers | None:
        """Return what there is under a name; None if the name does not exist."""
        return self._names.get(name.rstrip(".").lower())

    def _add(self, service: ServiceName) -> None:
        base = f"{service.name}.{service.namespace}.{_SERVICES}"
        backends = service.backends
        if service.address:
            self._names[base] = Answers(addresses=(service.address,))
            targets: Sequence[str] = (base,)
        else:
            self._names[base] = _of(backends)
            by_label: dict[str, list[Backend]] = {}
            for backend in backends:
                by_label.setdefault(backend.name or _dashed(backend.address), []).append(backend)
            for label, found in by_label.items():
                self._names[f"{label}.{base}"] = _of(found)
            targets = [f"{label}.{base}" for label in by_label]
        for name, protocol, port in service.ports:
            if name and targets:
                record = f"_{name}._{protocol.lower()}.{base}"
                self._names[record] = Answers(
                    targets=tuple(Target(target, port) for target in targets)
                )


def _of(backends: Iterable[Backend]) -> Answers:
    found = tuple(backends)
    return Answers(
        addresses=tuple(each.address for each in found),
        addresses_6=tuple(each.address_6 for each in found),
    )


def _dashed(address: str) -> str:
    return address.replace(".", "-")
