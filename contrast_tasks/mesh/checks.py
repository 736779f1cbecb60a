"""Checks of mesh annotations against the pod, and against the workloads to which egress leads.

Source: docs/internals/service-mesh.md 2.3 (last rows), 9 (probes).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.annotations import ADMIN_PORT, EGRESS, INGRESS
from contrast_tasks.findings import Findings
from contrast_tasks.mesh.model import EgressEntry, MeshConfig
from contrast_tasks.mesh.place import Place, Spot
from contrast_tasks.pods.injected import SERVICE_MESH


def check_pod(config: MeshConfig, pod_spec: Mapping[str, Any], findings: Findings[Spot]) -> None:
    """Report where the mesh configuration does not match its pod."""
    _check_ports(config, pod_spec, findings)
    _check_egress(config, pod_spec, findings)
    if config.has_ingress:
        _check_probes(config, pod_spec, findings)


def check_remotes(
    config: MeshConfig,
    namespace: str,
    unprotected: Mapping[tuple[str, str], str],
    findings: Findings[Spot],
) -> None:
    """Report each egress entry that leads to a workload of the deployment whose ingress has no mesh.

    namespace: of the pod. unprotected: such workloads, by (namespace, name) of a Service that leads to them.
    """
    for number, entry in enumerate(config.egress, start=1):
        key = unprotected.get(_service(entry, namespace))
        if key is not None:
            Place(EGRESS, number, findings).report(
                catalogue.MESH_UNPROTECTED_REMOTE,
                "remote",
                f"{entry.remote!r}, which leads to {key} without a mesh on its ingress",
                "a pod whose proxy answers",
                f"give {key} a servicemesh-ingress annotation, or connect to it directly",
            )


def _service(entry: EgressEntry, namespace: str) -> tuple[str, str]:
    # Cluster DNS: name, name.namespace, name.namespace.svc and name.namespace.svc.cluster.local are the same.
    name, *rest = entry.remote_host.rstrip(".").split(".")
    is_foreign = rest[1:2] not in ([], ["svc"])
    return "" if is_foreign else rest[0] if rest else namespace, name


def _numbered(pod_spec: Mapping[str, Any]) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield list, position and container; not the sidecar, which a file that was generated before has already."""
    for kind in ("initContainers", "containers"):
        for number, item in enumerate(pod_spec.get(kind) or ()):
            if isinstance(item, dict) and item.get("name") != SERVICE_MESH:
                yield kind, number, item


def _containers(pod_spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return (container for _, _, container in _numbered(pod_spec))


def _ports(pod_spec: Mapping[str, Any]) -> dict[Any, int]:
    # By number and by name, since probes may name a port.
    ports: dict[Any, int] = {}
    for container in _containers(pod_spec):
        for port in container.get("ports") or ():
            number = port.get("containerPort") if isinstance(port, dict) else None
            if isinstance(number, int) and port.get("protocol", "TCP") == "TCP":
                ports[number] = number
                ports[port.get("name", number)] = number
    return ports


def _check_ports(config: MeshConfig, pod_spec: Mapping[str, Any], findings: Findings[Spot]) -> None:
    ports = set(_ports(pod_spec).values())
    listed = ", ".join(map(str, sorted(ports))) or "none"
    for number, entry in enumerate(config.ingress, start=1):
        if entry.port not in ports and entry.port != config.admin_port:
            Place(INGRESS, number, findings).report(
                catalogue.MESH_UNKNOWN_PORT,
                "port",
                f"port {entry.port}",
                f"a container port of the pod ({listed})",
            )
    if config.admin_port in ports:
        Place(ADMIN_PORT, None, findings).report(
            catalogue.MESH_RESERVED_PORT,
            "",
            f"{config.admin_port}, which is also a container port of the pod",
            "an unused port",
        )


def _check_egress(
    config: MeshConfig, pod_spec: Mapping[str, Any], findings: Findings[Spot]
) -> None:
    texts = [text for container in _containers(pod_spec) for text in _texts(container)]
    from_config = any(
        container.get("envFrom") or any(_is_reference(var) for var in container.get("env") or ())
        for container in _containers(pod_spec)
    )
    for number, entry in enumerate(config.egress, start=1):
        if not from_config and not any(entry.listen in text for text in texts):
            Place(EGRESS, number, findings).report(
                catalogue.MESH_UNUSED_EGRESS,
                "listen address",
                f"{entry.listen}, which no environment variable or argument of the pod contains",
                "an application that connects to it",
            )


def _is_reference(variable: object) -> bool:
    return isinstance(variable, dict) and isinstance(variable.get("valueFrom"), dict)


def _texts(container: Mapping[str, Any]) -> Iterator[str]:
    for key in ("command", "args"):
        yield from (item for item in container.get(key) or () if isinstance(item, str))
    for variable in container.get("env") or ():
        if isinstance(variable, dict) and isinstance(variable.get("value"), str):
            yield variable["value"]


def _check_probes(
    config: MeshConfig, pod_spec: Mapping[str, Any], findings: Findings[Spot]
) -> None:
    ingress = Place(INGRESS, None, findings)
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
                    field = f"{kind}.{container.get('name')}.{name}"
                    ingress.report(
                        catalogue.MESH_PROBE,
                        "",
                        found,
                        wanted,
                        f'to do without it: remove = ["{field}"] under the workload in contrast.toml',
                        spot=(*path, "httpGet"),
                        answer=("remove", [field]),
                    )
            elif isinstance(tcp, dict) and ports.get(tcp.get("port"), tcp.get("port")) not in plain:
                found = (
                    f"the TCP {place}, which the proxy answers even when the application is down"
                )
                ingress.report(
                    catalogue.MESH_PROBE,
                    "",
                    found,
                    "an exec probe",
                    is_milder=True,
                    spot=(*path, "tcpSocket"),
                )
