"""The grammar of the service-mesh annotations: one parser for `generate` and for the sidecar.

    ingress = "" | name#port#flag joined by ##          flag: false = TLS without client certificate, true = plain
            | DISABLED                                  incoming connections are left alone
    egress  = "" | name#ip:port#host:port joined by ##  ip in 127.0.0.0/8
    peers   = key=name,name joined by ##                key: egress name or ingress port

Entries are split at their separators, without escapes or trimming. Every fault is reported, and malformed entries are
left out of the result. Source: docs/internals/service-mesh.md 2 and 2.3 (column "ours"), 7 (peers);
docs/internals/releases.md 6 (DISABLED).
"""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from contrast_tasks import catalogue
from contrast_tasks.annotations import (
    ADMIN_PORT,
    EGRESS,
    EGRESS_PEERS,
    INGRESS,
    INGRESS_PEERS,
    MESH_VARIABLES,
)
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.findings import Finding, Findings, Severity
from contrast_tasks.mesh.model import EgressEntry, IngressEntry, MeshConfig, Mode
from contrast_tasks.mesh.place import Place, Spot
from contrast_tasks.sans import san_kind

# Envoy's two ingress listeners. Source: docs/internals/service-mesh.md 7.
MTLS_PORT: Final = 15006
TLS_PORT: Final = 15007
RESERVED_PORTS: Final = (MTLS_PORT, TLS_PORT)
RESERVED_NAMES: Final = frozenset(
    {"ingress", "ingressWithoutClientAuth", "IngressCluster", "BlackHoleCluster"}
)
# As the whole value of the ingress annotation.
INGRESS_DISABLED: Final = "DISABLED"
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_MAX_PORT: Final = 65535
_LOOPBACK: Final = ipaddress.ip_network("127.0.0.0/8")
_FIELDS: Final = 3


class MeshError(UsageError):
    """Malformed mesh annotations; findings: all errors."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        message = "; ".join(finding.message for finding in findings)
        super().__init__(message, hint=findings[0].hint)
        self.findings = tuple(findings)


def parse_mesh(values: Mapping[str, str], findings: Findings[Spot]) -> MeshConfig:
    """Return the configuration from the annotations of one pod; "" is the same as an absent annotation."""
    text = values.get(INGRESS, "")
    has_ingress = text != INGRESS_DISABLED
    ingress = _ingress(text, findings) if has_ingress else ()
    if not has_ingress and values.get(INGRESS_PEERS):
        found, wanted = f"names of clients with ingress {INGRESS_DISABLED}", "no such annotation"
        Place(INGRESS_PEERS, None, findings).report(catalogue.MESH_PEERS, "", found, wanted)
    egress = _egress(values.get(EGRESS, ""), findings)
    admin_port = None
    if admin_text := values.get(ADMIN_PORT):
        admin_port = _free_port(admin_text, "", Place(ADMIN_PORT, None, findings))
    if admin_port is not None:
        _check_admin_port(admin_port, ingress, egress, findings)
    return MeshConfig(
        ingress=ingress,
        egress=_with_peers(egress, values.get(EGRESS_PEERS, ""), findings),
        admin_port=admin_port,
        ingress_peers=_ingress_peers(values.get(INGRESS_PEERS, ""), ingress, findings),
        has_ingress=has_ingress,
    )


def parse_environment(environ: Mapping[str, str]) -> MeshConfig:
    """Return the configuration from a sidecar's environment; raises MeshError with all errors."""
    findings = Findings[Spot](lambda spot: Location(file=str(spot)))
    values = {key: environ.get(variable, "") for key, variable in MESH_VARIABLES.items()}
    config = parse_mesh(values, findings)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        raise MeshError(errors)
    return config


def _ingress(text: str, findings: Findings[Spot]) -> tuple[IngressEntry, ...]:
    entries: list[IngressEntry] = []
    modes: dict[int, Mode] = {}
    for at, (name, port_text, flag) in _entries(INGRESS, text, "name#port#flag", findings):
        is_named = _check_name(name, at)
        port = _free_port(port_text, "port", at)
        mode = _mode(flag, at)
        if port is None or mode is None or not is_named:
            continue
        if modes.setdefault(port, mode) != mode:
            found = f"{flag!r} for port {port} again"
            at.report(catalogue.MESH_INGRESS_CONFLICT, "flag", found, "one flag per port")
            continue
        if port in {entry.port for entry in entries}:
            found = f"port {port} again"
            at.report(catalogue.MESH_REPEATED_PORT, "port", found, "each port once")
        entries.append(IngressEntry(name=name, port=port, mode=mode))
    return tuple(entries)


def _egress(text: str, findings: Findings[Spot]) -> tuple[EgressEntry, ...]:
    entries: list[EgressEntry] = []
    names: dict[str, int | None] = {}
    listens: dict[str, int | None] = {}
    for at, (name, listen, remote) in _entries(EGRESS, text, "name#ip:port#host:port", findings):
        is_usable = _check_name(name, at)
        if name in RESERVED_NAMES:
            wanted = "a name that the proxy does not reserve"
            at.report(catalogue.MESH_RESERVED_NAME, "name", repr(name), wanted)
            is_usable = False
        near, far = _listen(listen, at), _remote(remote, at)
        for seen, what, field in ((names, name, "name"), (listens, listen, "listen address")):
            if what and seen.setdefault(what, at.number) != at.number:
                at.report(
                    catalogue.MESH_DUPLICATE,
                    field,
                    f"{what!r} as in entry {seen[what]}",
                    f"each {field} once",
                    f"choose another {field}",
                )
                is_usable = False
        if is_usable and near and far:
            entries.append(
                EgressEntry(
                    name=name,
                    listen_ip=near[0],
                    listen_port=near[1],
                    remote_host=far[0],
                    remote_port=far[1],
                )
            )
    return tuple(entries)


def _pieces(key: str, text: str, findings: Findings[Spot]) -> Iterator[tuple[Place, str]]:
    # Entries are numbered without the empty ones.
    pieces = text.split("##")
    if text and not all(pieces):
        Place(key, None, findings).report(
            catalogue.MESH_EMPTY_ENTRY,
            "",
            f"an empty entry in {text!r}",
            "entries joined by one ##",
        )
    for number, piece in enumerate(filter(None, pieces), start=1):
        at = Place(key, number, findings)
        if any(char.isspace() or not char.isprintable() for char in piece):
            at.report(catalogue.MESH_BLANK, "", repr(piece), "an entry without blanks or line ends")
            continue
        yield at, piece


def _entries(
    key: str, text: str, shape: str, findings: Findings[Spot]
) -> Iterator[tuple[Place, list[str]]]:
    for at, piece in _pieces(key, text, findings):
        fields = piece.split("#")
        if len(fields) == _FIELDS:
            yield at, fields
        else:
            found = f"{len(fields)} fields in {piece!r}"
            at.report(catalogue.MESH_FIELDS, "", found, f"3 fields as {shape}")


def _check_name(name: str, at: Place) -> bool:
    if not name:
        at.report(catalogue.MESH_NAME, "name", "no name", "a name")
    return bool(name)


def _port(text: str, field: str, at: Place) -> int | None:
    if _PORT.fullmatch(text) and int(text) <= _MAX_PORT:
        return int(text)
    at.report(catalogue.MESH_PORT, field, repr(text), "a port from 1 to 65535 in plain digits")
    return None


def _free_port(text: str, field: str, at: Place) -> int | None:
    """Return a port that Envoy does not reserve."""
    port = _port(text, field, at)
    if port not in RESERVED_PORTS:
        return port
    at.report(
        catalogue.MESH_RESERVED_PORT,
        field,
        f"port {port}",
        "a port that the proxy does not reserve",
        f"the proxy listens on {MTLS_PORT}, {TLS_PORT} and the admin port",
    )
    return None


def _mode(flag: str, at: Place) -> Mode | None:
    if flag not in _TRUE | _FALSE:
        at.report(catalogue.MESH_FLAG, "flag", repr(flag), "true or false")
        return None
    if flag not in {"true", "false"}:
        plain = "true" if flag in _TRUE else "false"
        at.report(
            catalogue.MESH_FLAG,
            "flag",
            repr(flag),
            f"the spelling {plain}",
            f"write {plain}",
            is_milder=True,
        )
    return "plain" if flag in _TRUE else "tls"


def _listen(text: str, at: Place) -> tuple[str, int] | None:
    host, colon, port_text = text.rpartition(":")
    field = "listen address"
    try:
        # An IPv6 address in brackets is parsed too, so that the finding can say why it is refused.
        inner = host[1:-1] if host.startswith("[") and ":" in host else host
        address = ipaddress.ip_address(inner) if colon else None
    except ValueError:
        address = None
    if address is None:
        at.report(
            catalogue.MESH_LISTEN,
            field,
            repr(text),
            "an address of 127.0.0.0/8 and a port, such as 127.137.0.1:8081",
        )
        return None
    is_loopback = isinstance(address, ipaddress.IPv4Address) and address in _LOOPBACK
    if not is_loopback:
        at.report(
            catalogue.MESH_LISTEN,
            field,
            repr(text),
            "an address of 127.0.0.0/8",
            "use an unused address of 127.137.0.0/16",
        )
    port = _free_port(port_text, "listen port", at)
    return (str(address), port) if is_loopback and port else None


def _remote(text: str, at: Place) -> tuple[str, int] | None:
    host, colon, port_text = text.rpartition(":")
    inner = host[1:-1] if host.startswith("[") and host.endswith("]") else ""
    if not colon or (":" in host and not inner):
        hint = "write an IPv6 address in brackets" if ":" in host else "add the port"
        at.report(catalogue.MESH_REMOTE, "remote", repr(text), "host:port", hint)
        return None
    is_host = _is_ipv6(inner) if inner else san_kind(host) in {"dns", "ip"} and "*" not in host
    if not is_host:
        at.report(
            catalogue.MESH_REMOTE,
            "remote",
            repr(text),
            "a DNS name, an IPv4 address or an IPv6 address in brackets",
        )
    port = _port(port_text, "remote port", at)
    return (inner or host, port) if is_host and port else None


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return "%" not in text


def _check_admin_port(
    port: int,
    ingress: Sequence[IngressEntry],
    egress: Sequence[EgressEntry],
    findings: Findings[Spot],
) -> None:
    # The entry `admin#<port>#true` opens the admin interface of the reference product's proxy (docs/internals/service-mesh.md 7).
    at = Place(ADMIN_PORT, None, findings)
    for entry in ingress:
        if entry.port == port and entry.mode == "tls":
            at.report(
                catalogue.MESH_RESERVED_PORT,
                "",
                f"{port}, which is also the port of ingress entry {entry.name!r}",
                "an unused port",
            )
    for number, remote in enumerate(egress, start=1):
        if remote.listen_port == port:
            Place(EGRESS, number, findings).report(
                catalogue.MESH_RESERVED_PORT,
                "listen port",
                f"{port}, which is also the admin port",
                "an unused port",
            )


def _peer_lists(
    key: str, text: str, findings: Findings[Spot]
) -> Iterator[tuple[Place, str, tuple[str, ...]]]:
    seen: set[str] = set()
    for at, piece in _pieces(key, text, findings):
        target, equals, names = piece.partition("=")
        peers = tuple(names.split(","))
        wrong = [name for name in peers if san_kind(name) is None]
        if not equals or not target or wrong:
            shown = f"the name {wrong[0]!r}" if equals and target else repr(piece)
            at.report(catalogue.MESH_PEERS, "", shown, "key=name,name with DNS names or addresses")
        elif target in seen:
            at.report(
                catalogue.MESH_DUPLICATE,
                "",
                f"{target!r} again",
                "each key once",
                "join the two lists",
            )
        else:
            seen.add(target)
            yield at, target, peers


def _with_peers(
    entries: Sequence[EgressEntry], text: str, findings: Findings[Spot]
) -> tuple[EgressEntry, ...]:
    peers: dict[str, tuple[str, ...]] = {}
    known = [entry.name for entry in entries]
    for at, target, names in _peer_lists(EGRESS_PEERS, text, findings):
        if target not in known:
            at.report(
                catalogue.MESH_PEERS,
                "",
                repr(target),
                f"an egress name of {', '.join(known) or 'none'}",
            )
        peers[target] = names
    return tuple(entry.replace(peers=peers.get(entry.name, ())) for entry in entries)


def _ingress_peers(
    text: str, ingress: Sequence[IngressEntry], findings: Findings[Spot]
) -> dict[int, tuple[str, ...]]:
    result: dict[int, tuple[str, ...]] = {}
    exempt = {entry.port for entry in ingress}
    for at, target, names in _peer_lists(INGRESS_PEERS, text, findings):
        port = _port(target, "port", at)
        if port in exempt:
            at.report(
                catalogue.MESH_PEERS,
                "port",
                f"port {port}",
                "a port whose clients must show a certificate",
            )
        elif port is not None:
            result[port] = names
    return result
