"""The OCI specification of a pod's sandbox, which runs the pause image."""

from typing import Any

from contrast_tasks.runtime.containerd.annotations import sandbox_annotations
from contrast_tasks.runtime.containerd.capabilities import DEFAULT, capability_sets
from contrast_tasks.runtime.containerd.environment import DEFAULT_PATH, merged
from contrast_tasks.runtime.containerd.linux import (
    NO_DEVICES,
    cgroups_path,
    sandbox_namespaces,
    seccomp_profile,
)
from contrast_tasks.runtime.containerd.mounts import sandbox_mounts
from contrast_tasks.runtime.containerd.users import sandbox_user
from contrast_tasks.runtime.cri import Dns, Profile, SandboxConfig
from contrast_tasks.runtime.node import Drawn, Node

_OOM_SCORE = -998
_SHARES = 2
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_OPEN_PORTS = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


def sandbox_spec(config: SandboxConfig, node: Node, drawn: Drawn) -> dict[str, Any]:
    """Return the content of the sandbox's config.json; raises ContainerRefused where containerd makes none."""
    version, image = node.containerd, node.pause
    user = sandbox_user(config, image, version, drawn.sandbox_id)
    score = max(_OOM_SCORE, node.daemon_oom_score) if node.restrict_oom_score else _OOM_SCORE
    spec: dict[str, Any] = {
        "ociVersion": version.oci_version,
        "process": {
            "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
            "args": [*image.entrypoint, *image.cmd],
            "env": merged([DEFAULT_PATH], image.env),
            "cwd": image.working_dir or "/",
            "capabilities": capability_sets(DEFAULT),
            "noNewPrivileges": True,
            "oomScoreAdj": score,
        },
        "root": {"path": "rootfs", "readonly": True},
        "mounts": [each.to_json() for each in sandbox_mounts(config, version, drawn)],
        "annotations": sandbox_annotations(config, node, drawn),
        "linux": _linux(config, node, drawn),
    }
    if config.hostname:
        spec["hostname"] = config.hostname
    return spec


def resolv_conf(dns: Dns) -> str:
    """Return the file that containerd writes for a pod; without any part it copies the node's instead."""
    lines = [
        *([f"search {' '.join(dns.searches)}"] if dns.searches else []),
        *(f"nameserver {server}" for server in dns.servers),
        *([f"options {' '.join(dns.options)}"] if dns.options else []),
    ]
    return "".join(f"{line}\n" for line in lines)


def _linux(config: SandboxConfig, node: Node, drawn: Drawn) -> dict[str, Any]:
    version = node.containerd
    found: dict[str, Any] = {
        "resources": {"devices": [dict(NO_DEVICES)], "cpu": {"shares": _SHARES}},
        "cgroupsPath": cgroups_path(config.cgroup_parent, drawn.sandbox_id),
        "namespaces": sandbox_namespaces(config.namespaces, drawn),
        "maskedPaths": list(version.sandbox_masked),
        "readonlyPaths": list(_READONLY),
    }
    sysctls = dict(config.sysctls)
    opened = version.opens_ports if node.opens_ports is None else node.opens_ports
    if opened and config.namespaces.network == "pod":
        sysctls = _OPEN_PORTS | sysctls
    if sysctls:
        found["sysctl"] = sysctls
    if not config.privileged:
        found["seccomp"] = seccomp_profile(Profile(kind="default"), node)
    return found
