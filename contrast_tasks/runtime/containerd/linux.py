"""What sandbox and containers have in common in the specification's `linux` section."""

import posixpath
from collections.abc import Mapping
from typing import Any, Final

from contrast_tasks.runtime.cri import Namespaces, Profile
from contrast_tasks.runtime.node import Drawn, Node
from contrast_tasks.runtime.refusals import ContainerRefused

NO_DEVICES: Final[Mapping[str, Any]] = {"allow": False, "access": "rwm"}
ALL_DEVICES: Final[Mapping[str, Any]] = {"allow": True, "access": "rwm"}
_DEFAULT_APPARMOR: Final = "cri-containerd.apparmor.d"
_SECCOMP_FOLDER: Final = "/var/lib/kubelet/seccomp"
# Stands for containerd's default profile, whose text depends on kernel, processor and capabilities.
DEFAULT_SECCOMP: Final = "default"


def sandbox_namespaces(shared: Namespaces, drawn: Drawn) -> list[dict[str, str]]:
    """Return the namespaces of the sandbox: new ones, and the network that the node has set up."""
    network = f"/var/run/netns/{drawn.network_namespace}"
    on_node = shared.network == "node"
    return [
        *([] if shared.pid == "node" else [{"type": "pid"}]),
        *([] if shared.ipc == "node" else [{"type": "ipc"}]),
        *([] if on_node else [{"type": "uts"}]),
        {"type": "mount"},
        *([] if on_node else [{"type": "network", "path": network}]),
    ]


def container_namespaces(
    shared: Namespaces, drawn: Drawn, *, privileged: bool
) -> list[dict[str, str]]:
    """Return the namespaces of a container: those of the sandbox's process, also where that has the node's."""

    def of_sandbox(kind: str, name: str) -> dict[str, str]:
        return {"type": kind, "path": f"/proc/{drawn.sandbox_pid}/ns/{name}"}

    return [
        {"type": "pid"} if shared.pid == "container" else of_sandbox("pid", "pid"),
        of_sandbox("ipc", "ipc"),
        of_sandbox("uts", "uts"),
        {"type": "mount"},
        of_sandbox("network", "net"),
        *([] if privileged else [{"type": "cgroup"}]),
    ]


def cgroups_path(parent: str, identifier: str) -> str:
    """Return the path of a container's control group; a slice of systemd is written in its own form."""
    last = posixpath.basename(parent)
    if last.endswith(".slice"):
        return f"{last}:cri-containerd:{identifier}"
    return posixpath.join(parent, identifier)


def seccomp_profile(profile: Profile, node: Node) -> Any:
    """Return the profile's document, DEFAULT_SECCOMP for containerd's own, None for none."""
    if profile.kind == "unconfined":
        return None
    if profile.kind == "default":
        return DEFAULT_SECCOMP
    if profile.localhost not in node.seccomp_profiles:
        path = f"{_SECCOMP_FOLDER}/{profile.localhost}"
        raise ContainerRefused(
            f'failed to create containerd container: cannot load seccomp profile "{path}": '
            f"open {path}: no such file or directory",
            by="containerd",
        )
    return node.seccomp_profiles[profile.localhost]


def apparmor_profile(profile: Profile | None, node: Node, *, privileged: bool) -> str:
    """Return the name of the AppArmor profile, "" for none.

    A node without AppArmor refuses profiles; one with it applies containerd's own where the pod says nothing.
    """
    kind = profile.kind if profile else "default"
    if node.apparmor is None:
        if profile is None or kind == "unconfined":
            return ""
        raise _no_apparmor("failed to generate apparmor spec opts: apparmor is not supported")
    if profile is None or kind != "localhost":
        return "" if privileged or kind == "unconfined" else _DEFAULT_APPARMOR
    if profile.localhost not in node.apparmor:
        raise _no_apparmor(
            f"failed to generate apparmor spec opts: apparmor profile not found {profile.localhost}"
        )
    return profile.localhost


def _no_apparmor(reason: str) -> ContainerRefused:
    return ContainerRefused(f"failed to get container spec opts: {reason}", by="containerd")
