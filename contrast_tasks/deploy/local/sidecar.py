"""The mesh of local pods: which pods have one, and the addresses that replace the packet filter."""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.local.messages import Endpoint
from contrast_tasks.local.network import DEFAULT_NET, app_address
from contrast_tasks.mesh.grammar import parse_environment
from contrast_tasks.mesh.local import LocalMesh
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.pods.injected import SERVICE_MESH

Hosts = Mapping[str, Mapping[str, tuple[Endpoint, ...]]]
"""Name of a Service -> port as text -> endpoints."""


def mesh_config(spec: Mapping[str, Any]) -> MeshConfig | None:
    """Return the mesh configuration of a pod's sidecar, None for a pod without one. Raises MeshError."""
    for container in spec.get("initContainers") or ():
        if container["name"] == SERVICE_MESH:
            entries = container.get("env") or ()
            return parse_environment(
                {entry["name"]: str(entry.get("value") or "") for entry in entries}
            )
    return None


def egress_places(
    pods: Sequence[tuple[str, Mapping[str, Any]]], addresses: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return pod -> annotated egress listen address -> the address used on this machine.

    pods: names and specs. In a cluster each pod has its own loopback interface; local pods share one. The first pod that
    uses an annotated address gets it if the project has the default net; the others get 127.(net+1).<entry>.<host>,
    which no pod and no application uses.
    """
    places: dict[str, dict[str, str]] = {}
    taken: set[str] = set()
    for name, spec in pods:
        config = mesh_config(spec)
        _, net, _, host = addresses[name].split(".")
        for number, entry in enumerate(config.egress if config else (), start=1):
            place = entry.listen
            if place in taken or int(net) != DEFAULT_NET:
                place = f"127.{int(net) + 1}.{number}.{host}:{entry.listen_port}"
            taken.add(place)
            places.setdefault(name, {})[entry.listen] = place
    return places


def local_mesh(
    config: MeshConfig,
    *,
    address: str,
    ports: Sequence[int],
    hosts: Hosts,
    egress: Mapping[str, str],
) -> LocalMesh:
    """Return the local configuration of the sidecar of the pod at `address`; ports: declared by its containers."""
    admin = () if config.admin_port is None else (config.admin_port,)
    behind = {
        entry.remote: hosts.get(entry.remote_host, {}).get(str(entry.remote_port))
        for entry in config.egress
    }
    return LocalMesh(
        pod_address=address,
        app_address=app_address(address),
        ports=tuple(sorted({*ports, *admin})),
        resolve={remote: endpoints[0] for remote, endpoints in behind.items() if endpoints},
        egress=egress,
    )
