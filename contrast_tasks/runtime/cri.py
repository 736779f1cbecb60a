"""What the kubelet asks of the container runtime: the members of CRI messages that reach an OCI specification.

Source: Kubernetes, cri-api, runtime/v1.
"""

from collections.abc import Mapping
from typing import Literal

from contrast_tasks.records import Record

NamespaceMode = Literal["pod", "container", "node"]
ProfileKind = Literal["default", "unconfined", "localhost"]
Propagation = Literal["private", "slave", "shared"]


class Namespaces(Record):
    """Which namespaces a container shares: with its pod, with nobody, or with the node."""

    network: NamespaceMode = "pod"
    ipc: NamespaceMode = "pod"
    pid: NamespaceMode = "container"


class Profile(Record):
    """A seccomp or AppArmor profile; localhost: its name on the node where the kind is `localhost`."""

    kind: ProfileKind
    localhost: str = ""


class Resources(Record):
    """Limits of a control group, 0 for none; oom_score_adj: of the processes in it."""

    cpu_shares: int
    cpu_quota: int = 0
    cpu_period: int = 0
    memory_bytes: int = 0
    oom_score_adj: int = 0
    unified: Mapping[str, str] = {}


class Dns(Record):
    """The parts of resolv.conf."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class SandboxConfig(Record):
    """PodSandboxConfig; user and group are None where the pod sets none, the host name is empty on the node's network."""

    name: str
    namespace: str
    uid: str
    annotations: Mapping[str, str]
    hostname: str
    dns: Dns
    log_directory: str
    cgroup_parent: str
    resources: Resources
    sysctls: Mapping[str, str]
    namespaces: Namespaces
    privileged: bool
    user: int | None
    group: int | None
    supplemental_groups: tuple[int, ...]


class Mount(Record):
    """A bind mount; container_path is as written in the pod, with a leading slash."""

    host_path: str
    container_path: str
    readonly: bool = False
    propagation: Propagation = "private"
    recursive_readonly: bool = False


class Capabilities(Record):
    """Capabilities to add and to drop, as written in the pod."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


class Security(Record):
    """LinuxContainerSecurityContext; either user or username is set, for the kubelet always sends one.

    capabilities: None where the pod says nothing. strict_groups: groups of the image's /etc/group do not count.
    """

    namespaces: Namespaces
    user: int | None
    username: str
    group: int | None
    supplemental_groups: tuple[int, ...]
    strict_groups: bool
    privileged: bool
    readonly_rootfs: bool
    no_new_privileges: bool
    capabilities: Capabilities | None
    masked_paths: tuple[str, ...]
    readonly_paths: tuple[str, ...]
    seccomp: Profile
    apparmor: Profile | None


class ContainerConfig(Record):
    """ContainerConfig; image: the reference as the pod writes it, env in the order in which it is sent."""

    name: str
    image: str
    command: tuple[str, ...]
    args: tuple[str, ...]
    working_dir: str
    env: tuple[tuple[str, str], ...]
    mounts: tuple[Mount, ...]
    tty: bool
    stdin: bool
    stdin_once: bool
    resources: Resources
    security: Security
