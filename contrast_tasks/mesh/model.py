"""The parsed form of the service-mesh annotations; the one form that crosses from the grammar to Envoy.

JSON form: schemas/annotations.schema.json. Source: docs/internals/service-mesh.md 2.3, end.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Mode = Literal["tls", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IngressEntry:
    """One exempted port: `tls` is TLS without client certificate, `plain` is no TLS at all."""

    name: str
    port: int
    mode: Mode

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"name": self.name, "port": self.port, "mode": self.mode}


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressEntry:
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

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; peers are left out when there are none."""
        return {
            "name": self.name,
            "listen": {"ip": self.listen_ip, "port": self.listen_port},
            "remote": {"host": self.remote_host, "port": self.remote_port},
            **({"peers": list(self.peers)} if self.peers else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshConfig:
    """Everything the annotations of one pod say; ingress_peers maps a protected port to allowed client names."""

    ingress: tuple[IngressEntry, ...] = ()
    egress: tuple[EgressEntry, ...] = ()
    admin_port: int | None = None
    ingress_peers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    def ports(self, mode: Mode) -> tuple[int, ...]:
        """Return the ingress ports of a mode, each once, in order."""
        return tuple(dict.fromkeys(entry.port for entry in self.ingress if entry.mode == mode))

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/annotations.schema.json."""
        peers = [
            {"port": port, "peers": list(names)}
            for port, names in sorted(self.ingress_peers.items())
        ]
        return {
            "ingress": [entry.to_json() for entry in self.ingress],
            "egress": [entry.to_json() for entry in self.egress],
            "adminPort": self.admin_port,
            **({"ingressPeers": peers} if peers else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "MeshConfig":
        """Read back what `to_json` wrote."""
        return cls(
            ingress=tuple(IngressEntry(**entry) for entry in document["ingress"]),
            egress=tuple(
                EgressEntry(
                    name=entry["name"],
                    listen_ip=entry["listen"]["ip"],
                    listen_port=entry["listen"]["port"],
                    remote_host=entry["remote"]["host"],
                    remote_port=entry["remote"]["port"],
                    peers=tuple(entry.get("peers", ())),
                )
                for entry in document["egress"]
            ),
            admin_port=document["adminPort"],
            ingress_peers={
                entry["port"]: tuple(entry["peers"]) for entry in document.get("ingressPeers", ())
            },
        )
