"""The parsed form of the service-mesh annotations; the one form that crosses from the grammar to Envoy.

Source: docs/internals/service-mesh.md 2.3, end.
"""

from collections.abc import Mapping
from typing import Literal

from contrast_tasks.records import Record

Mode = Literal["tls", "plain"]


class IngressEntry(Record):
    """One exempted port: `tls` is TLS without client certificate, `plain` is no TLS at all."""

    name: str
    port: int
    mode: Mode


class EgressEntry(Record):
    """One outbound connection: the application's loopback address and what lies behind it.

    listen_ip: in 127.0.0.0/8; remote_host: DNS name, IPv4 or IPv6 address without brackets.
    peers: names of which the other side's certificate must carry one; empty accepts every mesh certificate.
    """

    name: str
    listen_ip: str
    listen_port: int
    remote_host: str
    remote_port: int
    peers: tuple[str, ...] = ()

    @property
    def listen(self) -> str:
        """Return `ip:port`, as the application writes it."""
        return f"{self.listen_ip}:{self.listen_port}"

    @property
    def remote(self) -> str:
        """Return `host:port`, an IPv6 address in brackets."""
        host = f"[{self.remote_host}]" if ":" in self.remote_host else self.remote_host
        return f"{host}:{self.remote_port}"


class MeshConfig(Record):
    """Everything the annotations of one pod say; ingress_peers maps a protected port to allowed client names."""

    ingress: tuple[IngressEntry, ...] = ()
    egress: tuple[EgressEntry, ...] = ()
    admin_port: int | None = None
    ingress_peers: Mapping[int, tuple[str, ...]] = {}

    def ports(self, mode: Mode) -> tuple[int, ...]:
        """Return the ingress ports of a mode, each once, in order."""
        return tuple(dict.fromkeys(entry.port for entry in self.ingress if entry.mode == mode))
