"""The machine on which the cases were recorded, and the placeholders that stand for what it drew."""

from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.cri import Dns
from contrast_tasks.runtime.node import KATA, KERNEL_CAPABILITIES, RUNC, Device, Drawn, Image, Node
from dev.recorded.cases import Case

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PAUSE = Image(entrypoint=("/pause",), user="65535:65535", working_dir="/", env=(_PATH,))
# The pods were given the cluster's name server even on the node's network.
_RESOLVER = Dns(
    servers=("10.96.0.10",),
    searches=("default.svc.cluster.local", "svc.cluster.local", "cluster.local"),
    options=("ndots:5",),
)
SECCOMP_PROFILES = {"profiles/audit.json": {"defaultAction": "SCMP_ACT_LOG"}}
# Kind, major, minor, mode of the devices that a block volume and a device plugin gave.
DEVICES = {"/var/lib/kubelet/blk": ("b", 7, 0, 0o644), "/dev/null": ("c", 1, 3, 0o666)}


def machine(case: Case, version: str, devices: Sequence[Mapping[str, Any]]) -> Node:
    """Return the node; devices: those of its /dev as an OCI specification lists them, known from records alone.

    It lacked CAP_SYS_RESOURCE, AppArmor and the hugetlb controller.
    """
    strict = case.configuration == "strict"
    return Node(
        containerd=containerd_version(version),
        handler={"kata": KATA, "runc": RUNC}[case.handler],
        pause=_PAUSE,
        pause_image="registry.test/pause:3.6",
        opens_ports=True if strict else None,
        restrict_oom_score=strict,
        name="node-1",
        hostname="vm",
        resolver=_RESOLVER,
        capabilities=tuple(each for each in KERNEL_CAPABILITIES if each != "SYS_RESOURCE"),
        devices=tuple(host_device(each) for each in devices),
        seccomp_profiles=SECCOMP_PROFILES,
    )


def placeholders(case: Case) -> Drawn:
    """Return what was drawn for the pod, as the records spell it."""
    names = [each["name"] for each in case.containers()]
    return Drawn(
        uid=case.asked("sandbox")["metadata"]["uid"],
        sandbox_id="<SANDBOX-ID>",
        container_ids=dict.fromkeys(names, "<CONTAINER-ID>"),
        sandbox_pid="<SANDBOX-PID>",
        network_namespace="cni-<NETNS>",
        addresses=("10.88.77.2",),
        volume_id="<VOLUME-ID>",
        devices={name: tuple(each for _, each in asked_devices(case, name)) for name in names},
    )


def _devices(case: Case, container: str) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = case.asked(container).get("devices", ())
    return found


def asked_devices(case: Case, container: str) -> list[tuple[str, Device]]:
    """Return the devices that the recorder asked for, each with its path on the machine."""
    return [(each["host_path"], _given_device(each)) for each in _devices(case, container)]


def _given_device(asked: Mapping[str, Any]) -> Device:
    known = DEVICES.get(asked["host_path"])
    if known is None:
        raise UsageError(f"{asked['host_path']}: no device of the machine that is known")
    kind, major, minor, mode = known
    path, access = asked["container_path"], asked["permissions"]
    return Device(path=path, kind=kind, major=major, minor=minor, file_mode=mode, access=access)


def host_device(listed: Mapping[str, Any]) -> Device:
    """Return a device as an OCI specification lists it."""
    return Device(
        path=listed["path"],
        kind=listed["type"],
        major=listed["major"],
        minor=listed["minor"],
        file_mode=listed["fileMode"],
        uid=listed["uid"],
        gid=listed["gid"],
    )
