"""The variables that the kubelet sets in containers for the Services of their namespace.

Source: Kubernetes, pkg/kubelet/envvars; docs/internals/reality.md 1.8 and 1.12.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

_KIND: Final = (
    r"SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?"
)
_LINK: Final = rf"[A-Z0-9][A-Z0-9_]*_(?:{_KIND})"
_API_SERVER_PORT: Final = 443


class ServicePort(NamedTuple):
    """One port of a Service; name: "" if it has none, protocol: in capitals."""

    number: int
    name: str
    protocol: str


def link_variables(service: str, ports: Iterable[ServicePort]) -> Iterator[str]:
    """Yield the names of the variables for a Service that has an address and ports."""
    prefix = _upper(service)
    yield from (f"{prefix}_SERVICE_HOST", f"{prefix}_SERVICE_PORT", f"{prefix}_PORT")
    for port in ports:
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{_upper(port.name)}"
        own = f"{prefix}_PORT_{port.number}_{port.protocol}"
        yield from (own, f"{own}_PROTO", f"{own}_PORT", f"{own}_ADDR")


def is_link(name: str) -> bool:
    """Return whether a variable has a name that some Service could give it."""
    # Every run asks this of each image, and hardly any name is one.
    may_be = "_PORT" in name or "_SERVICE_" in name
    return may_be and re.fullmatch(_LINK, name) is not None


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")


# Those of the API server, which come whatever a pod asks for.
API_SERVER: Final = frozenset(
    link_variables("kubernetes", [ServicePort(_API_SERVER_PORT, "https", "TCP")])
)
