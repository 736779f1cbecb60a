"""How one pod of the annotated YAML becomes a plan for the local node."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrast_tasks import variables
from contrast_tasks.addresses import (
    HTTP_API_PORT,
    MESH_API_PORT,
    PROBES_PORT,
    TRANSIT_API_PORT,
    USER_API_PORT,
)
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.deploy.local.container_plan import (
    PathMap,
    command_line,
    container_ports,
    probe_plan,
    search_path,
)
from contrast_tasks.deploy.local.environment import (
    Configs,
    PodFacts,
    environment,
    expand_variables,
)
from contrast_tasks.deploy.local.images import Unpack
from contrast_tasks.deploy.local.sidecar import Hosts, local_mesh, mesh_config
from contrast_tasks.errors import ClusterError
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.kube.workloads import service_account
from contrast_tasks.local.client import shim_folder
from contrast_tasks.local.messages import ContainerPlan, Endpoint, PodPlan, Probe
from contrast_tasks.local.network import app_address
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.pods.injected import INITIALIZER, SERVICE_MESH
from contrast_tasks.pods.volume_kinds import ConfigSource, Reach, kind_of, known_kind

# Pause of the initializer between attempts. On one machine it can be shorter than its default of five seconds.
_RETRY_SECONDS = "0.5"
_DEFAULT_GRACE_S = 30.0
# Long enough for a Coordinator to finish its calls, short enough for a user who waits at a prompt.
_MAX_GRACE_S = 10.0
# Marker files of our own containers; in a guest they are in the container's root folder.
_MARKERS = {"/ready": "ready", "/done": "done"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What all pods of one deployment share.

    egress: pod name -> annotated listen address -> the one used on this machine. environ: of the caller; only the path of
    an Envoy binary is passed on. with_mesh: False leaves out the mesh and the applications.
    """

    paths: LocalPaths
    unpack: Unpack
    hosts: Hosts
    egress: Mapping[str, Mapping[str, str]]
    configs: Configs
    environ: Mapping[str, str]
    with_mesh: bool


def with_roles(
    spec: Mapping[str, Any], *, with_mesh: bool, is_coordinator: bool
) -> list[tuple[Mapping[str, Any], str]]:
    """Return the containers that run, in the order of their start, each with its role."""
    inits = [
        (container, "sidecar" if container.get("restartPolicy") == "Always" else "init")
        for container in spec.get("initContainers") or ()
        if with_mesh or container["name"] == INITIALIZER
    ]
    mains = [
        (container, "main")
        for container in spec.get("containers") or ()
        if with_mesh or is_coordinator
    ]
    return [*inits, *mains]


def restart_policy(spec: Mapping[str, Any], containers: Sequence[ContainerPlan]) -> str:
    """Return when a pod starts again; one of which only init containers run does not."""
    has_mains = any(container.role == "main" for container in containers)
    return str(spec.get("restartPolicy") or "Always") if has_mains else "Never"


def grace_s(spec: Mapping[str, Any]) -> float:
    """Return how long containers may take to end."""
    return min(float(spec.get("terminationGracePeriodSeconds") or _DEFAULT_GRACE_S), _MAX_GRACE_S)


def listening_ports(spec: Mapping[str, Any], *, is_coordinator: bool) -> tuple[int, ...]:
    """Return the ports on which a pod serves, as declared."""
    if is_coordinator:
        return (USER_API_PORT, HTTP_API_PORT, MESH_API_PORT, TRANSIT_API_PORT, PROBES_PORT)
    return tuple(sorted(set(all_ports(spec).values())))


def all_ports(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared TCP ports of all main containers by name."""
    ports: dict[str, int] = {}
    for container in spec.get("containers") or ():
        ports |= container_ports(container)
    return ports


def build_pod(item: Annotated, name: str, address: str, shared: Shared) -> PodPlan:
    """Return the plan of a pod. Raises ClusterError or ImageError if this machine cannot run it."""
    return _PodBuilder(item, name, address, shared).build()


class _PodBuilder:
    def __init__(self, item: Annotated, name: str, address: str, shared: Shared) -> None:
        metadata = workloads.pod_metadata(item.obj)
        self._item = item
        self._spec = workloads.pod_spec(item.obj)
        self._name = name
        self._shared = shared
        self._address = address
        self._is_coordinator = item.role == ROLE_COORDINATOR
        self._mesh = mesh_config(self._spec) if shared.with_mesh else None
        self._app = address if self._mesh is None else app_address(address)
        self._egress = {} if self._mesh is None else shared.egress.get(name, {})
        self._folder = shared.paths.pod(name)
        self._facts = PodFacts(
            name=name,
            namespace=item.namespace,
            address=address,
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            service_account=service_account(item.obj),
            configs=shared.configs,
        )
        self._volumes = {
            volume["name"]: self._volume(volume) for volume in self._spec.get("volumes") or ()
        }

    def build(self) -> PodPlan:
        spec, item = self._spec, self._item
        policy = item.policy
        containers = self._containers()
        folders = {
            *self._volumes.values(),
            *(str(self._folder / container.name) for container in containers),
            *(container.working_dir for container in containers),
        }
        return PodPlan(
            name=self._name,
            workload=item.key,
            role=item.role,
            address=self._address,
            restart_policy=restart_policy(spec, containers),
            grace_s=grace_s(spec),
            listens=self._listens(),
            folders=tuple(sorted(folders)),
            policy=base64.b64encode(policy.content).decode() if policy else "",
            policy_sha256=policy.key_hex if policy else "",
            containers=containers,
        )

    def _containers(self) -> tuple[ContainerPlan, ...]:
        found = with_roles(
            self._spec, with_mesh=self._shared.with_mesh, is_coordinator=self._is_coordinator
        )
        return tuple(self._container(container, role) for container, role in found)

    def _listens(self) -> tuple[Endpoint, ...]:
        declared = listening_ports(self._spec, is_coordinator=self._is_coordinator)
        if self._is_coordinator:
            return tuple((self._address, port) for port in declared)
        if not self._shared.with_mesh:
            return ()
        egress = [place.rpartition(":") for place in self._egress.values()]
        return (
            *((address, port) for address in self._addresses() for port in declared),
            *((address, int(port)) for address, _, port in egress),
        )

    def _addresses(self) -> list[str]:
        """Return the pod's address and, behind a mesh, the application's."""
        return list(dict.fromkeys((self._address, self._app)))

    def _volume(self, volume: Mapping[str, Any]) -> str:
        """Return the folder of a volume; ConfigMaps and Secrets are written to it, others start empty."""
        name = volume["name"]
        named, kind = kind_of(volume), known_kind(volume)
        if not kind.is_local:
            raise ClusterError(f"{self._item.key}: volume {name}: platform local has no {named}")
        if kind.config is not None:
            return self._written(kind.config, volume[named])
        if kind.reach is Reach.DEVICE:
            return str(self._shared.paths.volumes / volume[named]["claimName"])
        return str(self._folder / "volumes" / name)

    def _written(self, config: ConfigSource, source: Mapping[str, Any]) -> str:
        named = {**source, "name": source[config.name_key]}
        content = self._facts.config(config.kind, named, self._item.key)
        names = {entry["key"]: entry["path"] for entry in source.get("items") or ()}
        files = {
            names.get(key, key): value
            for key, value in content.items()
            if not names or key in names
        }
        digest = sha256_hex(canonical_json({path: value.hex() for path, value in files.items()}))
        folder = self._shared.paths.configs / digest
        for path, value in files.items():
            write_atomic(folder / path, value, mode=0o644)
        return str(folder)

    def _container(self, container: Mapping[str, Any], role: str) -> ContainerPlan:
        name = container["name"]
        where = f"{self._item.key} container {name}"
        image = self._shared.unpack(container["image"])
        own = self._folder / name
        declared = environment(container, self._facts, where)
        mounts = self._mounts(container, declared, where)
        if name in {INITIALIZER, SERVICE_MESH}:
            mounts = {path: str(own / marker) for path, marker in _MARKERS.items()} | mounts
        paths = PathMap(mounts=mounts, rootfs=image.rootfs)
        env = {
            name: paths.translate_value(value) for name, value in {**image.env, **declared}.items()
        }
        env |= {
            "PATH": search_path(image.env.get("PATH", ""), image.rootfs),
            "PYTHONPATH": ":".join(filter(None, (str(shim_folder()), env.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "HOME": env.get("HOME", str(own)),
            "LANG": env.get("LANG", "C.UTF-8"),
            **self._injected(name, own, mounts),
        }
        ports = all_ports(self._spec) | container_ports(container)

        def probe(key: str) -> Probe | None:
            return probe_plan(
                container.get(key),
                ports=ports,
                addresses=self._addresses(),
                paths=paths,
                where=f"{where}: {key}",
            )

        return ContainerPlan(
            name=name,
            role=role,
            argv=command_line(container, image, env=declared, paths=paths, where=where),
            env=env,
            working_dir=paths.folder(container.get("workingDir") or image.working_dir) or str(own),
            image_digest=image.digest,
            rootfs=str(image.rootfs),
            unpacking=image.unpacking,
            attested=self._is_coordinator or name in {INITIALIZER, SERVICE_MESH},
            startup=probe("startupProbe"),
            readiness=probe("readinessProbe"),
        )

    def _mounts(
        self, container: Mapping[str, Any], env: Mapping[str, str], where: str
    ) -> dict[str, str]:
        mounts: dict[str, str] = {}
        for mount in container.get("volumeMounts") or ():
            name = mount["name"]
            if name not in self._volumes:
                # A claim template of the StatefulSet.
                if name not in workloads.claim_modes(self._item.obj):
                    raise ClusterError(f"{where}: there is no volume {name}")
                self._volumes[name] = str(self._shared.paths.volumes / f"{self._name}-{name}")
            place = self._volumes[name]
            sub_path = mount.get("subPath") or expand_variables(mount.get("subPathExpr") or "", env)
            path = expand_variables(str(mount["mountPath"]), {}).rstrip("/")
            mounts[path or "/"] = f"{place}/{sub_path}" if sub_path else place
        return mounts

    def _injected(self, name: str, own: Path, mounts: Mapping[str, str]) -> dict[str, str]:
        """Return the variables that the backend sets for our own programs and for applications."""
        if name == INITIALIZER:
            return {
                variables.SECRETS_DIR: mounts["/contrast"],
                variables.DONE_FILE: str(own / "done"),
                variables.RETRY_SECONDS: _RETRY_SECONDS,
            }
        if name == SERVICE_MESH and self._mesh is not None:
            mesh = local_mesh(
                self._mesh,
                address=self._address,
                ports=tuple(all_ports(self._spec).values()),
                hosts=self._shared.hosts,
                egress=self._egress,
            )
            binary = self._shared.environ.get(variables.ENVOY_BIN)
            return {
                variables.SECRETS_DIR: mounts["/contrast"],
                variables.MESH_DIR: str(own),
                variables.READY_FILE: str(own / "ready"),
                variables.LOCAL_MESH: mesh.render(),
                **({variables.ENVOY_BIN: binary} if binary else {}),
            }
        if self._is_coordinator:
            return {
                variables.USER_API: f"{self._address}:{USER_API_PORT}",
                variables.MESH_API: f"{self._address}:{MESH_API_PORT}",
                variables.HTTP_API: f"{self._address}:{HTTP_API_PORT}",
                variables.TRANSIT_API: f"{self._address}:{TRANSIT_API_PORT}",
                variables.HTTP: f"{self._address}:{PROBES_PORT}",
                variables.STATE: str(self._shared.paths.state),
            }
        moved = {wanted: place for wanted, place in self._egress.items() if wanted != place}
        return {
            "BIND_ADDRESS": self._app,
            **({variables.LOCAL_EGRESS: json.dumps(moved)} if moved else {}),
        }
