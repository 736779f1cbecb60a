# noqa: INP001  # a folder of PYTHONPATH, not a package
"""Resolves cluster names in Python applications of local pods; first in PYTHONPATH, so that Python imports it at start.

`socket.getaddrinfo` looks into two tables before it asks the system:
CONTRAST_LOCAL_HOSTS   file, name -> port (text) -> [[address, port], ...]; a Service maps its port to
                       the target port of its pods, as kube-proxy does
CONTRAST_LOCAL_EGRESS  JSON, `<address>:<port>` of the mesh annotation -> `<address>:<port>` on which the sidecar
                       listens here, because the pods of this machine share one loopback interface
"""

import json
import os
import socket
from collections.abc import Mapping
from typing import Any

_system_getaddrinfo = socket.getaddrinfo


def _table() -> Mapping[str, Any]:
    # Read each time, because a deploy may rewrite it and look-ups are rare.
    try:
        with open(os.environ["CONTRAST_LOCAL_HOSTS"], "rb") as stream:  # noqa: PTH123  # before every import of the application
            table: dict[str, Any] = json.load(stream)
            return table
    except (KeyError, OSError, ValueError):
        return {}


def _places(host: str, port: str) -> list[tuple[str, Any]]:
    moved = json.loads(os.environ.get("CONTRAST_LOCAL_EGRESS") or "{}").get(f"{host}:{port}")
    if moved:
        address, _, number = moved.rpartition(":")
        return [(address, int(number))]
    ports = _table().get(host.rstrip("."))
    if ports is None:
        return []
    if not port:
        return sorted({(address, 0) for rows in ports.values() for address, _ in rows})
    found = ports.get(port)
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"{host} has no port {port} in the local cluster")
    return [(address, number) for address, number in found]


def getaddrinfo(host: Any, port: Any, *args: Any, **kwargs: Any) -> list[Any]:
    """Answer like the system's function; names in the tables are resolved by them."""
    name = host.decode() if isinstance(host, bytes) else host
    text = "" if port is None else str(port.decode() if isinstance(port, bytes) else port)
    places = _places(name, text) if isinstance(name, str) and (text or "0").isdecimal() else []
    if not places:
        return _system_getaddrinfo(host, port, *args, **kwargs)
    return [
        entry
        for address, number in places
        for entry in _system_getaddrinfo(address, number, *args, **kwargs)
    ]


socket.getaddrinfo = getaddrinfo
