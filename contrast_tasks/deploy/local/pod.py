"""How one pod of the annotated YAML becomes a plan for the local node."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contrast_tasks.deploy.local.container import (
    PathMap,
    PodFacts,
    command_line,
    container_ports,
    environment,
    expand,
    probe_plan,
    search_path,
)
from contrast_tasks.errors import ClusterError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.local.messages import ContainerPlan, Endpoint, PodPlan
from contrast_tasks.local.network import app_address
from contrast_tasks.local.paths import LocalPaths

INITIALIZER = "contrast-initializer"
SERVICE_MESH = "contrast-service-mesh"
ROLE_COORDINATOR = "coordinator"
USER_API_PORT = 1313
MESH_API_PORT = 7777
PROBES_PORT = 9102
# On one machine the Coordinator is asked again soon; in a cluster it is five seconds.
_RETRY_SECONDS = "0.5"
_DEFAULT_GRACE_S = 30.0
# Long enough for a Coordinator to finish its calls, short enough for somebody who waits at a prompt.
_MAX_GRACE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedImage:
    """An image as the plan needs it; rootfs is its unpacked root, digest `sha256:...`.

    unpacking: differs each time the image is unpacked, so that pods of a damaged one are replaced.
    """

    digest: str
    rootfs: Path
    unpacking: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str


Unpack = Callable[[str], UnpackedImage]
"""Returns the image of a pinned reference; raises ImageError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all pods of one deployment share.

    hosts: name -> port -> endpoints. egress: pod name -> annotated listen address -> the one used on this machine.
    environ: of the caller; only what names an Envoy binary is passed on. with_mesh: False leaves out the mesh and
    the applications behind it.
    """

    paths: LocalPaths
    unpack: Unpack
    hosts: Mapping[str, Mapping[str, tuple[Endpoint, ...]]]
    egress: Mapping[str, Mapping[str, str]]
    configs: Mapping[tuple[str, str, str], Mapping[str, bytes]]
    environ: Mapping[str, str]
    python_path: str
    with_mesh: bool


def pod_template(item: Annotated) -> Mapping[str, Any]:
    """Return the pod template of a workload."""
    from contrast_tasks.kube.workloads import pod_template as template_of

    return template_of(item.obj)


def is_meshed(spec: Mapping[str, Any]) -> bool:
    """Return whether the pod has our sidecar."""
    return any(container["name"] == SERVICE_MESH for container in spec.get("initContainers") or ())


def all_ports(spec: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared ports of all main containers by name."""
    ports: dict[str, int] = {}
    for container in spec.get("containers") or ():
        ports |= container_ports(container)
    return ports


class PodBuilder:
    """Builds the plan of one pod."""

    def __init__(self, item: Annotated, name: str, address: str, around: Surroundings) -> None:
        template = pod_template(item)
        metadata = template.get("metadata") or {}
        self._item = item
        self._spec: Mapping[str, Any] = template["spec"]
        self._name = name
        self._around = around
        self._address = address
        self._meshed = is_meshed(self._spec) and around.with_mesh
        self._app = app_address(address) if self._meshed else address
        self._folder = around.paths.pod(name)
        self._facts = PodFacts(
            name=name,
            namespace=item.namespace,
            address=address,
            labels=metadata.get("labels") or {},
            annotations=metadata.get("annotations") or {},
            service_account=str(self._spec.get("serviceAccountName") or "default"),
            configs=around.configs,
        )
        self._volumes = {
            volume["name"]: self._volume(volume) for volume in self._spec.get("volumes") or ()
        }

    def build(self) -> PodPlan:
        """Return the plan; raise ClusterError or ImageError for what this machine cannot run."""
        spec, item = self._spec, self._item
        containers = self._containers()
        grace_s = float(spec.get("terminationGracePeriodSeconds") or _DEFAULT_GRACE_S)
        has_mains = any(container.role == "main" for container in containers)
        return PodPlan(
            name=self._name,
            workload=item.key,
            role=item.role,
            address=self._address,
            restart_policy=str(spec.get("restartPolicy") or "Always") if has_mains else "Never",
            grace_s=min(grace_s, _MAX_GRACE_S),
            listens=self._listens(),
            folders=tuple(
                sorted(
                    {*self._volumes.values()}
                    | {str(self._folder / container.name) for container in containers}
                    | {container.working_dir for container in containers}
                )
            ),
            policy=item.policy_b64,
            policy_sha256=sha256_hex(item.policy()) if item.policy_b64 else "",
            containers=containers,
        )

    def _containers(self) -> tuple[ContainerPlan, ...]:
        inits = [
            self._container(
                container, "sidecar" if container.get("restartPolicy") == "Always" else "init"
            )
            for container in self._spec.get("initContainers") or ()
            if self._around.with_mesh or container["name"] == INITIALIZER
        ]
        mains = [
            self._container(container, "main")
            for container in self._spec.get("containers") or ()
            if self._around.with_mesh or self._item.role == ROLE_COORDINATOR
        ]
        return (*inits, *mains)

    def _listens(self) -> tuple[Endpoint, ...]:
        if self._item.role == ROLE_COORDINATOR:
            ports = (USER_API_PORT, MESH_API_PORT, PROBES_PORT)
            return tuple((self._address, port) for port in ports)
        if not self._around.with_mesh:
            return ()
        declared = sorted(all_ports(self._spec).values())
        egress = [place.rpartition(":") for place in self._egress().values()]
        return (
            *(
                (address, port)
                for address in dict.fromkeys((self._address, self._app))
                for port in declared
            ),
            *((address, int(port)) for address, _, port in egress),
        )

    def _egress(self) -> Mapping[str, str]:
        return self._around.egress.get(self._name, {}) if self._meshed else {}

    def _volume(self, volume: Mapping[str, Any]) -> str:
        """Return the folder of a volume; ConfigMaps and Secrets are written out, others begin empty."""
        name = volume["name"]
        if "emptyDir" in volume:
            return str(self._folder / "volumes" / name)
        for kind, key, field in (
            ("ConfigMap", "configMap", "name"),
            ("Secret", "secret", "secretName"),
        ):
            if source := volume.get(key):
                return self._written(kind, source, field)
        if source := volume.get("persistentVolumeClaim"):
            return str(self._around.paths.base / "volumes" / source["claimName"])
        what = ", ".join(sorted(volume.keys() - {"name"})) or "no source"
        raise ClusterError(f"{self._item.key}: volume {name}: platform local has no {what}")

    def _written(self, kind: str, source: Mapping[str, Any], field: str) -> str:
        where = (kind, self._item.namespace, source[field])
        values = self._around.configs.get(where)
        if values is None and not source.get("optional"):
            raise ClusterError(f"{self._item.key}: there is no {kind} {source[field]}")
        content = values or {}
        names = {entry["key"]: entry["path"] for entry in source.get("items") or ()}
        digest = sha256_hex(
            json.dumps(
                [sorted(names.items()), sorted((k, v.hex()) for k, v in content.items())]
            ).encode()
        )
        folder = self._around.paths.base / "configs" / digest
        for key, value in content.items():
            if not names or key in names:
                write_atomic(folder / names.get(key, key), value, mode=0o644)
        return str(folder)

    def _container(self, container: Mapping[str, Any], role: str) -> ContainerPlan:
        where = f"{self._item.key} container {container['name']}"
        image = self._around.unpack(container["image"])
        own = self._folder / container["name"]
        mounts = {"/ready": str(own / "ready"), "/done": str(own / "done")}
        mounts |= self._mounts(container, where)
        if container["name"] not in {INITIALIZER, SERVICE_MESH}:
            mounts = {
                path: place for path, place in mounts.items() if path not in {"/ready", "/done"}
            }
        paths = PathMap(mounts=mounts, rootfs=image.rootfs)
        declared = environment(container, self._facts, where)
        env = {
            name: paths.translate_value(value) for name, value in {**image.env, **declared}.items()
        }
        env |= self._given(container, own, mounts, env, image)
        ports = all_ports(self._spec) | container_ports(container)
        working_dir = paths.folder(container.get("workingDir") or image.working_dir)

        def probe(key: str) -> Any:
            return probe_plan(
                container.get(key),
                ports=ports,
                pod_address=self._address,
                app_address=self._app,
                paths=paths,
                where=f"{where}: {key}",
            )

        return ContainerPlan(
            name=container["name"],
            role=role,
            argv=command_line(
                container,
                entrypoint=image.entrypoint,
                cmd=image.cmd,
                env=declared,
                paths=paths,
                where=where,
            ),
            env=env,
            working_dir=working_dir or str(own),
            image=container["image"],
            image_digest=image.digest,
            rootfs=str(image.rootfs),
            unpacking=image.unpacking,
            attested=self._item.role == ROLE_COORDINATOR or container["name"] == INITIALIZER,
            startup=probe("startupProbe"),
            readiness=probe("readinessProbe"),
        )

    def _mounts(self, container: Mapping[str, Any], where: str) -> dict[str, str]:
        mounts: dict[str, str] = {}
        for mount in container.get("volumeMounts") or ():
            place = self._volumes.get(mount["name"])
            if place is None:
                # A claim template of the StatefulSet.
                claims = {
                    claim["metadata"]["name"]
                    for claim in (self._item.obj.get("spec") or {}).get("volumeClaimTemplates")
                    or ()
                }
                if mount["name"] not in claims:
                    raise ClusterError(f"{where}: there is no volume {mount['name']}")
                place = str(self._around.paths.base / "volumes" / f"{self._name}-{mount['name']}")
                self._volumes[mount["name"]] = place
            sub_path = mount.get("subPath")
            path = expand(str(mount["mountPath"]), {}).rstrip("/")
            mounts[path or "/"] = f"{place}/{sub_path}" if sub_path else place
        return mounts

    def _given(
        self,
        container: Mapping[str, Any],
        own: Path,
        mounts: Mapping[str, str],
        env: Mapping[str, str],
        image: UnpackedImage,
    ) -> dict[str, str]:
        """Return what the backend adds to a container's environment."""
        around = self._around
        given = {
            "PATH": search_path(image.env.get("PATH", ""), image.rootfs),
            "PYTHONPATH": ":".join(filter(None, (around.python_path, env.get("PYTHONPATH")))),
            "PYTHONUNBUFFERED": "1",
            "HOME": env.get("HOME", str(own)),
            "LANG": env.get("LANG", "C.UTF-8"),
        }
        if container["name"] == INITIALIZER:
            return given | {
                "CONTRAST_SECRETS_DIR": mounts["/contrast"],
                "CONTRAST_DONE_FILE": str(own / "done"),
                "CONTRAST_RETRY_SECONDS": _RETRY_SECONDS,
            }
        if container["name"] == SERVICE_MESH:
            return given | self._given_to_mesh(own, mounts, env)
        if self._item.role == ROLE_COORDINATOR:
            return given | {
                "CONTRAST_USER_API": f"{self._address}:{USER_API_PORT}",
                "CONTRAST_MESH_API": f"{self._address}:{MESH_API_PORT}",
                "CONTRAST_HTTP": f"{self._address}:{PROBES_PORT}",
                "CONTRAST_STATE": str(around.paths.state),
            }
        moved = {wanted: place for wanted, place in self._egress().items() if wanted != place}
        return given | {
            "BIND_ADDRESS": self._app,
            **({"CONTRAST_LOCAL_EGRESS": json.dumps(moved)} if moved else {}),
        }

    def _given_to_mesh(
        self, own: Path, mounts: Mapping[str, str], env: Mapping[str, str]
    ) -> dict[str, str]:
        from contrast_tasks.mesh.annotations import parse_admin_port, parse_egress

        ports = set(all_ports(self._spec).values())
        if (admin := parse_admin_port(env.get("CONTRAST_ADMIN_PORT", ""))) is not None:
            ports.add(admin)
        resolve: dict[str, Endpoint] = {}
        for entry in parse_egress(env.get("CONTRAST_EGRESS_PROXY_CONFIG", "")):
            found = self._around.hosts.get(entry.remote_host, {}).get(str(entry.remote_port))
            if found:
                resolve[entry.remote] = found[0]
        mesh = {
            "pod_address": self._address,
            "app_address": self._app,
            "ports": sorted(ports),
            "resolve": resolve,
            "egress": self._egress(),
        }
        binary = self._around.environ.get("CONTRAST_ENVOY_BIN")
        return {
            "CONTRAST_SECRETS_DIR": mounts["/contrast"],
            "CONTRAST_MESH_DIR": str(own),
            "CONTRAST_READY_FILE": str(own / "ready"),
            "CONTRAST_LOCAL_MESH": json.dumps(mesh, sort_keys=True),
            **({"CONTRAST_ENVOY_BIN": binary} if binary else {}),
        }
