"""Messages of the container runtime interface: made from what the model of the kubelet asks, sent by gRPC."""

import base64
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from grpc_tools import protoc

from contrast_tasks.runtime.cri import (
    ContainerConfig,
    Namespaces,
    Profile,
    Resources,
    SandboxConfig,
)
from contrast_tasks.runtime.node import Device

PACKAGE = "runtime.v1"
_SOURCE = Path(__file__).with_name("cri.proto")
_PROFILES = {"default": "RuntimeDefault", "unconfined": "Unconfined", "localhost": "Localhost"}
_PROPAGATION = {
    "private": "PROPAGATION_PRIVATE",
    "slave": "PROPAGATION_HOST_TO_CONTAINER",
    "shared": "PROPAGATION_BIDIRECTIONAL",
}
SECCOMP_FOLDER = "/var/lib/kubelet/seccomp"


def compiled(folder: Path) -> dict[str, Any]:
    """Return the message classes by name; folder: for the compiler's output."""
    target = folder / "cri.binpb"
    arguments = ["protoc", f"-I{_SOURCE.parent}", f"--descriptor_set_out={target}", _SOURCE.name]
    if protoc.main(arguments) != 0:
        raise AssertionError("cri.proto is malformed")
    files = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
    pool = descriptor_pool.DescriptorPool()
    found = message_factory.GetMessages(list(files.file), pool=pool)
    return {name.removeprefix(f"{PACKAGE}."): each for name, each in found.items()}


def message(kind: Any, members: dict[str, Any]) -> Any:
    """Return a message with these members."""
    return json_format.ParseDict(members, kind())


def sandbox_members(config: SandboxConfig) -> dict[str, Any]:
    """Return PodSandboxConfig as JSON."""
    return {
        "metadata": {"name": config.name, "uid": config.uid, "namespace": config.namespace},
        "hostname": config.hostname,
        "log_directory": config.log_directory,
        "dns_config": {
            "servers": list(config.dns.servers),
            "searches": list(config.dns.searches),
            "options": list(config.dns.options),
        },
        "annotations": dict(config.annotations),
        "linux": {
            "cgroup_parent": config.cgroup_parent,
            "security_context": {
                "namespace_options": _namespaces(config.namespaces),
                "supplemental_groups": list(config.supplemental_groups),
                "privileged": config.privileged,
                "seccomp": {"profile_type": "RuntimeDefault"},
                **_numbers(run_as_user=config.user, run_as_group=config.group),
            },
            "sysctls": dict(config.sysctls),
            "resources": _resources(config.resources),
        },
    }


def container_members(
    config: ContainerConfig, image_id: str, devices: tuple[tuple[str, Device], ...] = ()
) -> dict[str, Any]:
    """Return ContainerConfig as JSON; devices: (path on the node, device) of each."""
    return {
        "metadata": {"name": config.name},
        "image": {"image": image_id, "user_specified_image": config.image},
        "command": list(config.command),
        "args": list(config.args),
        "working_dir": config.working_dir,
        "envs": [{"key": name, "value": _base64(value)} for name, value in config.env],
        "mounts": [
            {
                "container_path": each.container_path,
                "host_path": each.host_path,
                "readonly": each.readonly,
                "propagation": _PROPAGATION[each.propagation],
                "recursive_read_only": each.recursive_readonly,
            }
            for each in config.mounts
        ],
        "devices": [
            {"container_path": each.path, "host_path": place, "permissions": each.access}
            for place, each in devices
        ],
        "log_path": f"{config.name}/0.log",
        "stdin": config.stdin,
        "stdin_once": config.stdin_once,
        "tty": config.tty,
        "linux": {
            "resources": _resources(config.resources),
            "security_context": _security(config),
        },
    }


def _security(config: ContainerConfig) -> dict[str, Any]:
    asked = config.security
    found: dict[str, Any] = {
        "privileged": asked.privileged,
        "namespace_options": _namespaces(asked.namespaces),
        "run_as_username": asked.username,
        "readonly_rootfs": asked.readonly_rootfs,
        "supplemental_groups": list(asked.supplemental_groups),
        "supplemental_groups_policy": "Strict" if asked.strict_groups else "Merge",
        "no_new_privs": asked.no_new_privileges,
        "masked_paths": list(asked.masked_paths),
        "readonly_paths": list(asked.readonly_paths),
        "seccomp": _profile(asked.seccomp, SECCOMP_FOLDER),
        **_numbers(run_as_user=asked.user, run_as_group=asked.group),
    }
    if asked.capabilities is not None:
        found["capabilities"] = {
            "add_capabilities": list(asked.capabilities.add),
            "drop_capabilities": list(asked.capabilities.drop),
        }
    if asked.apparmor is not None:
        found["apparmor"] = _profile(asked.apparmor, "")
    return found


def _profile(profile: Profile, folder: str) -> dict[str, str]:
    found = {"profile_type": _PROFILES[profile.kind]}
    if profile.kind == "localhost":
        found["localhost_ref"] = f"{folder}/{profile.localhost}" if folder else profile.localhost
    return found


def _namespaces(asked: Namespaces) -> dict[str, str]:
    return {name: getattr(asked, name).upper() for name in ("network", "pid", "ipc")}


def _resources(asked: Resources) -> dict[str, Any]:
    return {
        "cpu_period": asked.cpu_period,
        "cpu_quota": asked.cpu_quota,
        "cpu_shares": asked.cpu_shares,
        "memory_limit_in_bytes": asked.memory_bytes,
        "oom_score_adj": asked.oom_score_adj,
        "unified": dict(asked.unified),
    }


def _numbers(**values: int | None) -> dict[str, dict[str, int]]:
    return {name: {"value": value} for name, value in values.items() if value is not None}


def _base64(value: str) -> str:
    return base64.b64encode(value.encode()).decode()
