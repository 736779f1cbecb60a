"""Findings on mesh annotations: the grammar's problems at their place, and what a pod makes of them.

The rules beyond the grammar are those of docs/internals/service-mesh.md 2.3 (last rows) and 9 (probes).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.mesh.annotations import ADMIN_PORT, EGRESS, INGRESS
from contrast_tasks.mesh.model import EgressEntry, MeshConfig
from contrast_tasks.mesh.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshPeer:
    """What the other pods of a deployment need to know of one pod.

    service_names: names under which Services lead to it, as `emoji-svc` and `emoji-svc.shop`.
    """

    key: str
    has_mesh: bool
    service_names: frozenset[str] = frozenset()


def problem_findings(
    problems: Sequence[Problem],
    subject: str,
    place: Callable[[Problem], Location],
) -> list[Finding]:
    """Return a G040 finding per problem; subject: as `Deployment/web`; place: where a problem stands."""
    return [
        Finding(
            code="G040",
            rule=problem.rule.partition("-")[2].lower(),
            severity=problem.severity,
            message=f"{subject}: {problem}",
            where=place(problem),
            hint=problem.hint,
        )
        for problem in problems
    ]


def pod_problems(config: MeshConfig, pod_spec: Mapping[str, Any]) -> list[Problem]:
    """Return what does not fit between the mesh configuration and the pod it is meant for."""
    found = list(_port_problems(config, pod_spec))
    found += _egress_problems(config, pod_spec)
    found += _probe_problems(config, pod_spec)
    return found


def topology_problems(config: MeshConfig, peers: Sequence[MeshPeer]) -> list[Problem]:
    """Return a warning for each egress entry that leads to a pod of this deployment without a mesh."""
    by_service = {name: peer for peer in peers for name in peer.service_names}
    found: list[Problem] = []
    for number, entry in enumerate(config.egress, start=1):
        peer = by_service.get(_service(entry))
        if peer is not None and not peer.has_mesh:
            found.append(
                Problem(
                    rule="W-MESH-UNPROTECTED-REMOTE",
                    severity=Severity.WARNING,
                    key=EGRESS,
                    entry=number,
                    field="remote",
                    found=f"{entry.remote!r}, which leads to {peer.key} without a mesh",
                    wanted="a pod with a mesh annotation",
                    hint=f"give {peer.key} a servicemesh-ingress annotation, or connect to it directly",
                )
            )
    return found


def _service(entry: EgressEntry) -> str:
    # Cluster DNS: name, name.namespace, name.namespace.svc and name.namespace.svc.cluster.local are the same.
    labels = entry.remote_host.rstrip(".").split(".")
    return ".".join(labels[:2]) if labels[2:3] in ([], ["svc"]) else entry.remote_host


def _numbered(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    for kind in ("initContainers", "containers"):
        for number, item in enumerate(pod_spec.get(kind) or ()):
            if isinstance(item, dict):
                yield kind, number, item


def _containers(pod_spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (container for _, _, container in _numbered(pod_spec))


def _ports(pod_spec: Mapping[str, Any]) -> dict[Any, int]:
    # By number and by name, for probes that name their port.
    ports: dict[Any, int] = {}
    for container in _containers(pod_spec):
        for port in container.get("ports") or ():
            number = port.get("containerPort") if isinstance(port, dict) else None
            if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
                ports[number] = number
                ports[port.get("name", number)] = number
    return ports


def _port_problems(config: MeshConfig, pod_spec: Mapping[str, Any]) -> Iterator[Problem]:
    ports = set(_ports(pod_spec).values())
    listed = ", ".join(map(str, sorted(ports))) or "none"
    for number, entry in enumerate(config.ingress, start=1):
        if entry.port not in ports and entry.port != config.admin_port:
            yield Problem(
                rule="W-MESH-UNKNOWN-PORT",
                severity=Severity.WARNING,
                key=INGRESS,
                entry=number,
                field="port",
                found=f"port {entry.port}",
                wanted=f"a container port of the pod ({listed})",
                hint="correct the port, or declare it in the container's ports",
            )
    if config.admin_port in ports:
        yield Problem(
            rule="E-MESH-RESERVED-PORT",
            severity=Severity.ERROR,
            key=ADMIN_PORT,
            found=f"{config.admin_port}, also a container port of the pod",
            wanted="a port of its own",
        )


def _egress_problems(config: MeshConfig, pod_spec: Mapping[str, Any]) -> Iterator[Problem]:
    texts = [text for container in _containers(pod_spec) for text in _texts(container)]
    from_config = any(
        container.get("envFrom") or any(_is_reference(var) for var in container.get("env") or ())
        for container in _containers(pod_spec)
    )
    for number, entry in enumerate(config.egress, start=1):
        if not from_config and not any(entry.listen in text for text in texts):
            yield Problem(
                rule="W-MESH-UNUSED-EGRESS",
                severity=Severity.NOTE,
                key=EGRESS,
                entry=number,
                field="listen address",
                found=f"{entry.listen}, which no environment variable or argument of the pod holds",
                wanted="an application that connects to it",
                hint="point the application at the address; connections elsewhere bypass the mesh",
            )


def _is_reference(variable: Any) -> bool:
    return isinstance(variable, dict) and isinstance(variable.get("valueFrom"), dict)


def _texts(container: Mapping[str, Any]) -> Iterator[str]:
    for key in ("command", "args"):
        yield from (item for item in container.get(key) or () if isinstance(item, str))
    for variable in container.get("env") or ():
        if isinstance(variable, dict) and isinstance(variable.get("value"), str):
            yield variable["value"]


def _probe_problems(config: MeshConfig, pod_spec: Mapping[str, Any]) -> Iterator[Problem]:
    ports = _ports(pod_spec)
    plain, tls = set(config.ports("plain")), set(config.ports("tls"))
    for kind, number, container in _numbered(pod_spec):
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe = container.get(name)
            if not isinstance(probe, dict):
                continue
            place = f"{name} of container {container.get('name')}"
            http, tcp = probe.get("httpGet"), probe.get("tcpSocket")
            path = (kind, number, name)
            if isinstance(http, dict):
                port = ports.get(http.get("port"), http.get("port"))
                is_https = http.get("scheme") == "HTTPS"
                if port not in plain and not (port in tls and is_https):
                    scheme = "HTTPS" if is_https else "HTTP"
                    found = f"the {scheme} {place} on port {port}, which the mesh will refuse"
                    wanted = "scheme HTTPS on a port with flag false, or an exec probe"
                    yield _probe(Severity.WARNING, (*path, "httpGet"), found, wanted)
            elif isinstance(tcp, dict) and ports.get(tcp.get("port"), tcp.get("port")) not in plain:
                found = (
                    f"the TCP {place}, which the proxy answers even when the application is down"
                )
                yield _probe(Severity.NOTE, (*path, "tcpSocket"), found, "an exec probe")


def _probe(severity: Severity, path: tuple[str | int, ...], found: str, wanted: str) -> Problem:
    return Problem(
        rule="W-MESH-PROBE", severity=severity, key=INGRESS, found=found, wanted=wanted, path=path
    )
