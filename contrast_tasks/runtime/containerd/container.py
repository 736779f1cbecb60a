"""The OCI specification of a container."""

from typing import Any

from contrast_tasks.runtime.containerd.annotations import container_annotations
from contrast_tasks.runtime.containerd.capabilities import container_capabilities
from contrast_tasks.runtime.containerd.environment import container_environment
from contrast_tasks.runtime.containerd.linux import (
    ALL_DEVICES,
    NO_DEVICES,
    apparmor_profile,
    cgroups_path,
    container_namespaces,
    seccomp_profile,
)
from contrast_tasks.runtime.containerd.mounts import container_mounts, rootfs_propagation
from contrast_tasks.runtime.containerd.users import container_user
from contrast_tasks.runtime.cri import ContainerConfig, Resources, SandboxConfig
from contrast_tasks.runtime.node import Device, Drawn, Image, Node
from contrast_tasks.runtime.refusals import ContainerRefused


def container_spec(
    config: ContainerConfig, sandbox: SandboxConfig, image: Image, node: Node, drawn: Drawn
) -> dict[str, Any]:
    """Return the content of a container's config.json; raises ContainerRefused where containerd makes none."""
    security = config.security
    args = _arguments(config, image, drawn.container_ids[config.name])
    apparmor = apparmor_profile(security.apparmor, node, privileged=security.privileged)
    user = container_user(security, image, node.containerd)
    score = config.resources.oom_score_adj
    process: dict[str, Any] = {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": args,
        "env": container_environment(config, image, sandbox.hostname or node.hostname),
        "cwd": config.working_dir or image.working_dir or "/",
        "capabilities": container_capabilities(security, node.capabilities),
        "oomScoreAdj": max(score, node.daemon_oom_score) if node.restrict_oom_score else score,
    }
    if apparmor:
        process["apparmorProfile"] = apparmor
    if security.no_new_privileges:
        process["noNewPrivileges"] = True
    if config.tty:
        process["terminal"] = True
    mounts = container_mounts(config, sandbox, image, node, drawn)
    return {
        "ociVersion": node.containerd.oci_version,
        "process": process,
        "root": {"path": "rootfs", **({"readonly": True} if security.readonly_rootfs else {})},
        "mounts": [each.to_json() for each in mounts],
        "annotations": container_annotations(config, sandbox, node, drawn),
        "linux": _linux(config, sandbox, node, drawn),
    }


def _arguments(config: ContainerConfig, image: Image, identifier: str) -> list[str]:
    """Return the words of the process; an entry point of one empty word counts as none."""
    if config.command:
        return [*config.command, *config.args]
    entrypoint = () if image.entrypoint == ("",) else image.entrypoint
    found = [*entrypoint, *(config.args or image.cmd)]
    if not found:
        raise ContainerRefused(
            f'failed to generate container "{identifier}" spec: failed to generate spec: '
            "no command specified",
            by="containerd",
        )
    return found


def _linux(
    config: ContainerConfig, sandbox: SandboxConfig, node: Node, drawn: Drawn
) -> dict[str, Any]:
    security = config.security
    everything = security.privileged and node.handler.host_devices
    devices = node.devices if everything else drawn.devices.get(config.name, ())
    allowed = [ALL_DEVICES] if everything else [NO_DEVICES, *map(_allowed, devices)]
    seccomp = None if security.privileged else seccomp_profile(security.seccomp, node)
    identifier = drawn.container_ids[config.name]
    found: dict[str, Any] = {
        "resources": {"devices": [dict(each) for each in allowed], **_limits(config.resources)},
        "cgroupsPath": cgroups_path(sandbox.cgroup_parent, identifier),
        "namespaces": container_namespaces(
            security.namespaces, drawn, privileged=security.privileged
        ),
    }
    optional = {
        "devices": [_device(each) for each in devices],
        "seccomp": seccomp,
        "rootfsPropagation": rootfs_propagation(config.mounts),
        "maskedPaths": [] if security.privileged else list(security.masked_paths),
        "readonlyPaths": [] if security.privileged else list(security.readonly_paths),
    }
    return found | {name: value for name, value in optional.items() if value}


def _limits(resources: Resources) -> dict[str, Any]:
    quota = {"quota": resources.cpu_quota} if resources.cpu_quota else {}
    memory = {"limit": resources.memory_bytes} if resources.memory_bytes else {}
    return {
        "memory": memory,
        "cpu": {"shares": resources.cpu_shares, **quota, "period": resources.cpu_period},
        "unified": dict(resources.unified),
    }


def _device(device: Device) -> dict[str, Any]:
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.file_mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def _allowed(device: Device) -> dict[str, Any]:
    numbers = {"major": device.major, "minor": device.minor}
    return {"allow": True, "type": device.kind, **numbers, "access": device.access}
