"""The requests of a pod's whole life, made from the expectations of its policy (docs/internals/policy.md 10.5).

They show before deployment whether a policy would deny its own pod. Values that only the host knows are samples, and
identifiers are derived from names, so that each run makes the same requests.
"""

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contrast_tasks.agent_messages import Request, fill_defaults
from contrast_tasks.files import sha256_hex
from contrast_tasks.pods.volume_kinds import MADE_DIRECTORIES
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine
from contrast_tasks.policy.expectations import Container, Mount, Pattern, PolicyData, Value
from contrast_tasks.policy.gpus import DEVICE_PREFIX
from contrast_tasks.policy.names import CRI_PREFIX

_UID = "31df313a-931f-4979-a405-cc3f3ccb6a56"
_PULL = "image_guest_pull"
_REGULAR, _DIRECTORY, _SYMLINK = 0o100644, 0o041777, 0o120777


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A request of the pod's life that its policy denies; index: its position among the requests."""

    index: int
    request: Request
    decision: Decision


def simulate(policy: bytes, data: PolicyData, *, engine: str = ENGINES[0]) -> tuple[Denial, ...]:
    """Evaluate the policy for each request of the pod's life; return those it denies, in order.

    Raises PolicyEngineError if the engine is missing or fails.
    """
    guest = PolicyEngine(policy, engine=engine)
    denials = []
    for index, request in enumerate(synthesise_lifecycle(data)):
        decision = guest.ask(request.kind, request.input)
        if not decision.allowed:
            denials.append(Denial(index=index, request=request, decision=decision))
    return tuple(denials)


def synthesise_lifecycle(data: PolicyData) -> list[Request]:
    """Return the requests of a pod from start to end, in the order of docs/internals/policy.md 2."""
    return [
        request._replace(input=fill_defaults(request.kind, request.input))
        for request in _Pod(data).life()
    ]


class _Pod:
    def __init__(self, data: PolicyData) -> None:
        self.data = data
        self.name = data.pod.name_sample
        self.namespace = data.pod.namespace or "default"
        self.hostname = self.name[:63].rstrip("-.")
        if data.pod.hostname is not None:
            self.hostname = self._text(data.pod.hostname)
        self.sandbox_id = sha256_hex(f"sandbox {self.namespace}/{self.name}".encode())

    def life(self) -> Iterator[Request]:
        yield _request("GuestDetailsRequest", "read the guest's details")
        yield from self._network()
        yield self._sandbox()
        for container in self.data.containers:
            yield from self._container(container)
        for container in self.data.containers[1:]:
            yield from self._run(container)
        for container in reversed(self.data.containers):
            identifier = {"container_id": self.container_id(container)}
            label = container.name or "pause"
            yield _request(
                "SignalProcessRequest", f"stop {label}", **identifier, exec_id="", signal=15
            )
            yield _request("RemoveContainerRequest", f"remove {label}", **identifier)
        yield _request("DestroySandboxRequest", "remove the sandbox")

    def container_id(self, container: Container) -> str:
        if container.kind == "pause":
            return self.sandbox_id
        return sha256_hex(f"container {container.name}".encode())

    def _network(self) -> Iterator[Request]:
        interface = {
            "device": "eth0",
            "name": "eth0",
            "IPAddresses": [
                {"family": 0, "address": "10.244.0.14", "mask": "24"},
                {"family": 1, "address": "fe80::6474:9fff:fe6a:9601", "mask": "64"},
            ],
            "mtu": 1500,
            "hwAddr": "66:74:9f:6a:96:01",
        }
        yield _request("UpdateInterfaceRequest", "configure eth0", interface=interface)
        routes = [
            {"device": "eth0", "gateway": "10.244.0.1"},
            {"device": "eth0", "dest": "10.244.0.0/24"},
        ]
        yield _request("UpdateRoutesRequest", "set routes", routes={"Routes": routes})
        neighbor = {
            "toIPAddress": {"address": "10.244.0.1"},
            "device": "eth0",
            "lladdr": "00:00:5e:00:53:01",
            "state": 128,
        }
        yield _request(
            "AddARPNeighborsRequest", "set neighbours", neighbors={"ARPNeighbors": [neighbor]}
        )

    def _sandbox(self) -> Request:
        return _request(
            "CreateSandboxRequest",
            "create the sandbox",
            hostname=self.hostname,
            dns=["nameserver 10.0.0.10", "search default.svc.cluster.local", "options ndots:5"],
            storages=[dict(storage) for storage in self.data.profile.sandbox_storages],
            sandbox_id=self.sandbox_id,
        )

    def _container(self, container: Container) -> Iterator[Request]:
        label = container.name or "pause"
        identifier = self.container_id(container)
        for mount in container.mounts:
            if mount.source[0] == "file":
                yield from self._copies(container, mount)
        yield _request(
            "CreateContainerRequest", f"create {label}", **self._create(container, identifier)
        )
        if container.kind == "pause":
            yield _request("OnlineCPUMemRequest", "use all processors", nb_cpus=1)
        yield _request("StartContainerRequest", f"start {label}", container_id=identifier)
        yield _request("WaitProcessRequest", f"wait for {label}", container_id=identifier)
        if container.kind == "pause":
            yield _request("GetOOMEventRequest", "watch for lack of memory")

    def _copies(self, container: Container, mount: Mount) -> Iterator[Request]:
        path = self._copied(container, mount)
        place = f"copy {mount.destination} of {container.name or 'pause'}"
        if mount.source[1] not in self.data.copy_watched:
            yield _copy(place, path, "Regular", _REGULAR)
            return
        yield _copy(place, path, "Directory", _DIRECTORY)
        yield _copy(place, f"{path}/..2026_01_01", "Directory", _DIRECTORY)
        yield _copy(place, f"{path}/..2026_01_01/key", "Regular", _REGULAR)
        yield _copy(place, f"{path}/..data", "Symlink", _SYMLINK, "..2026_01_01")
        yield _copy(place, f"{path}/key", "Symlink", _SYMLINK, "..data/key")

    def _copied(self, container: Container, mount: Mount) -> str:
        """Return the path of a copied file; the shim adds 16 characters to make names unique."""
        identifier = self.container_id(container)
        key = sha256_hex(mount.destination.encode())[:16]
        return f"{self.data.profile.shared_paths[0]}{identifier}-{key}-{mount.source[1]}"

    def _create(self, container: Container, identifier: str) -> dict[str, Any]:
        root = f"{self.data.profile.root_prefix}{identifier}/rootfs"
        annotations = self._annotations(container, identifier)
        pull = {
            "driver": _PULL,
            "driver_options": [
                f"{_PULL}={json.dumps({'metadata': annotations}, sort_keys=True, separators=(',', ':'))}"
            ],
            "source": container.images[0],
            "fstype": "overlay",
            "mount_point": root,
        }
        return {
            "container_id": identifier,
            "exec_id": identifier,
            "devices": [
                *(
                    {"id": f"drive-{index}", "type_": "blk", "vm_path": "", "container_path": path}
                    for index, path in enumerate(container.devices)
                ),
                *map(_gpu, range(container.gpus)),
            ],
            "storages": [pull, *self._storages(container)],
            "sandbox_pidns": container.pidns,
            "OCI": {
                "Version": "1.1.0",
                "Process": self._process(container),
                "Root": {"Path": root, "Readonly": container.rootfs_ro},
                "Hostname": self.hostname if container.kind == "pause" else "",
                "Mounts": [
                    {
                        "destination": mount.destination,
                        "source": self._source(container, mount),
                        "type_": mount.type,
                        "options": list(mount.options[0]),
                    }
                    for mount in container.mounts
                ],
                "Annotations": annotations,
                "Linux": self._linux(container, identifier),
            },
        }

    def _storages(self, container: Container) -> Iterator[dict[str, Any]]:
        disks = 0
        for storage in container.storages:
            if storage.kind == "block":
                disks += 1
                yield {
                    "driver": "scsi",
                    "source": f"0:{disks}",
                    "driver_options": ["encryption_key=ephemeral", "create_filesystem"],
                    "fstype": "ext4",
                    "mount_point": self._guest_path(storage.kind, storage.volume),
                    "fs_group": storage.to_json()["fs_group"],
                    "shared": True,
                }
                continue
            fstype = MADE_DIRECTORIES[storage.kind].fstype
            yield {
                "driver": storage.kind,
                "source": fstype,
                "fstype": fstype,
                "options": list(storage.options),
                "mount_point": self._guest_path(storage.kind, storage.volume),
            }

    def _guest_path(self, kind: str, volume: str) -> str:
        if kind == "block":
            return f"/run/kata-containers/sandbox/storage/{volume.encode().hex()}"
        if kind == "ephemeral":
            return self.data.profile.ephemeral_path + volume
        return f"{self.data.profile.shared_paths[0]}{self.sandbox_id}/rootfs/local/{volume}"

    def _source(self, container: Container, mount: Mount) -> str:
        kind, argument = mount.source
        if kind == "eq":
            return argument
        if kind == "file":
            return self._copied(container, mount)
        return self._guest_path(kind, argument)

    def _annotations(self, container: Container, identifier: str) -> dict[str, str]:
        pause = container.kind == "pause"
        bundles = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
        found = {
            "io.katacontainers.pkg.oci.bundle_path": f"{bundles}{identifier}",
            "io.katacontainers.pkg.oci.container_type": "pod_sandbox" if pause else "pod_container",
            f"{CRI_PREFIX}container-type": "sandbox" if pause else "container",
            f"{CRI_PREFIX}sandbox-id": self.sandbox_id,
            f"{CRI_PREFIX}sandbox-name": self.name,
            f"{CRI_PREFIX}sandbox-namespace": self.namespace,
            f"{CRI_PREFIX}sandbox-uid": _UID,
        }
        if not pause:
            return found | {
                f"{CRI_PREFIX}container-name": container.name,
                f"{CRI_PREFIX}image-name": container.images[0],
                **{f"cdi.k8s.io/vfio{n}": f"nvidia.com/gpu={n}" for n in range(container.gpus)},
            }
        return (
            found
            | dict(self.data.pod.annotations)
            | {
                f"{CRI_PREFIX}sandbox-cpu-period": "100000",
                f"{CRI_PREFIX}sandbox-cpu-quota": "0",
                f"{CRI_PREFIX}sandbox-cpu-shares": "2",
                f"{CRI_PREFIX}sandbox-log-directory": f"/var/log/pods/{self.namespace}_{self.name}_{_UID}",
                f"{CRI_PREFIX}sandbox-memory": "0",
                "nerdctl/network-namespace": "/var/run/netns/cni-50720768-bd65-bf4b-6185-5d5a2adf5305",
            }
        )

    def _process(self, container: Container) -> dict[str, Any]:
        process = container.process
        caps = [f"CAP_{cap}" for cap in process.caps]
        return {
            "Terminal": process.tty,
            "User": {
                "UID": process.user.uid,
                "GID": process.user.gid,
                "AdditionalGids": list(process.user.gids),
            },
            "Args": [self._text(arg) for arg in process.args],
            "Env": self._environment(container),
            "Cwd": process.cwd,
            "Capabilities": {"Bounding": caps, "Effective": caps, "Permitted": caps},
            "NoNewPrivileges": process.nnp,
            "ApparmorProfile": "" if container.kind == "pause" else "cri-containerd.apparmor.d",
            "OOMScoreAdj": 994,
        }

    def _environment(self, container: Container) -> list[str]:
        env = container.env
        first = [each.choices[0] for each in env.head]
        entries = [each if isinstance(each, str) else self._resolved(each.sample) for each in first]
        entries += [f"{name}={value}" for name, value in env.fixed.items()]
        entries += [f"{name}={values[0]}" for name, values in env.optional.items()]
        entries += [self._resolved(pattern.sample) for pattern in env.patterns.values()]
        if container.kind == "pause":
            return entries
        service = {
            "KUBERNETES_PORT": "tcp://10.0.0.1:443",
            "KUBERNETES_PORT_443_TCP": "tcp://10.0.0.1:443",
            "KUBERNETES_PORT_443_TCP_ADDR": "10.0.0.1",
            "KUBERNETES_PORT_443_TCP_PORT": "443",
            "KUBERNETES_PORT_443_TCP_PROTO": "tcp",
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "KUBERNETES_SERVICE_PORT": "443",
            "KUBERNETES_SERVICE_PORT_HTTPS": "443",
        }
        if container.gpus:
            service["PCI_RESOURCE_NVIDIA_COM_PGPU"] = "0000:00:00.0"
        explicit = env.fixed.keys() | env.optional.keys() | env.patterns.keys()
        return entries + [
            f"{name}={value}" for name, value in service.items() if name not in explicit
        ]

    def _linux(self, container: Container, identifier: str) -> dict[str, Any]:
        return {
            "Sysctl": dict(self.data.sysctls) if container.kind == "pause" else {},
            "Resources": {
                "CPU": {"Shares": 2, "Quota": 0, "Period": 100000},
                "Memory": {"Limit": 0, "Swap": 0},
            },
            "CgroupsPath": f"kubepods-burstable-pod{_UID.replace('-', '_')}.slice:cri-containerd:{identifier}",
            "Namespaces": [{"Type": kind, "Path": ""} for kind in ("ipc", "uts", "mount")],
            "Devices": [
                {
                    "Path": path,
                    "Type": "b",
                    "Major": 254,
                    "Minor": index,
                    "FileMode": 432,
                    "UID": 0,
                    "GID": 6,
                }
                for index, path in enumerate(container.devices)
            ],
            "RootfsPropagation": container.propagation,
            "MaskedPaths": [*container.masked, *(["/proc/asound"] if container.masked else ())],
            "ReadonlyPaths": list(container.readonly),
        }

    def _run(self, container: Container) -> Iterator[Request]:
        identifier = {"container_id": self.container_id(container)}
        for index, command in enumerate(container.exec):
            exec_id = f"probe-{index}"
            process = self._process(container) | {
                "Args": [self._text(arg) for arg in command],
                "Terminal": False,
                "Capabilities": None,
                "ApparmorProfile": "",
            }
            purpose = f"run {posixpath.basename(process['Args'][0])} in {container.name}"
            yield _request(
                "ExecProcessRequest", purpose, **identifier, exec_id=exec_id, process=process
            )
        if container.logs:
            yield _request(
                "ReadStreamRequest",
                f"read output of {container.name}",
                **identifier,
                exec_id="",
                len=4096,
            )
        yield _request("StatsContainerRequest", f"measure {container.name}", **identifier)

    def _text(self, value: Value) -> str:
        return self._resolved(value.sample) if isinstance(value, Pattern) else value

    def _resolved(self, sample: str) -> str:
        sample = sample.replace("$(name)", self.name).replace("$(namespace)", self.namespace)
        return sample.replace("$(uid)", _UID).replace("$(hostname)", self.hostname)


def _gpu(number: int) -> dict[str, Any]:
    return {
        "id": f"vfio{number}",
        "type_": "vfio-pci-gk",
        "vm_path": "",
        "container_path": f"{DEVICE_PREFIX}{number}",
        "options": [f"0000:{number:02x}:00.0=0{number % 10}/00"],
    }


def _copy(purpose: str, path: str, file_type: str, mode: int, target: str | None = None) -> Request:
    return _request(
        "CopyFileRequest",
        purpose,
        path=path,
        file_type=file_type,
        symlink_target=target,
        file_mode=mode,
        dir_mode=0o750,
    )


def _request(kind: str, purpose: str, **fields: Any) -> Request:
    return Request(kind=kind, input=fields, purpose=purpose)
