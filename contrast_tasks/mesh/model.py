"""The parsed form of the service-mesh annotations, from which Envoy's configuration is made.

Source: docs/internals/service-mesh.md 2.3, end.
"""

from collections.abc import Mapping
from typing import Literal

from contrast_tasks.addresses import joined
from contrast_tasks.records import Record

Mode = Literal["tls", "plain"]


class IngressEntry(Record):
    """One exempted port; mode: `tls` for TLS without client certificate, `plain` for no TLS."""

    name: str
    port: int
    mode: Mode


class EgressEntry(Record):
    """One outbound connection, from a loopback address to a remote.

    listen_ip: in 127.0.0.0/8. remote_host: DNS name, IPv4 address, or IPv6 address without brackets.
    peers: the remote's certificate must have one of these names; () accepts any mesh certificate.
    """

    name: str
    listen_ip: str
    listen_port: int
    remote_host: str
    remote_port: int
    peers: tuple[str, ...] = ()

    @property
    def listen(self) -> str:
        """Return the listen address as `ip:port`."""
        return f"{self.listen_ip}:{self.listen_port}"

    @property
    def remote(self) -> str:
        """Return the remote as `host:port`, with an IPv6 address in brackets."""
        return joined(self.remote_host, self.remote_port)


class MeshConfig(Record):
    """The mesh configuration of one pod.

    ingress_peers: accepted client names by protected port. has_ingress: whether the proxy takes incoming connections;
    otherwise they reach the application as they are, and only outgoing ones are protected.
    """

    ingress: tuple[IngressEntry, ...] = ()
    egress: tuple[EgressEntry, ...] = ()
    admin_port: int | None = None
    ingress_peers: Mapping[int, tuple[str, ...]] = {}
    has_ingress: bool = True

    def ports(self, mode: Mode) -> tuple[int, ...]:
        """Return the distinct ingress ports of a mode, in order."""
        return tuple(dict.fromkeys(entry.port for entry in self.ingress if entry.mode == mode))
