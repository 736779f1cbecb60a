"""The node on which a pod starts: its software, its configuration, what only the machine knows, and what it draws."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from contrast_tasks.records import Record
from contrast_tasks.runtime.containerd_versions import CONTAINERD, Containerd
from contrast_tasks.runtime.cri import Dns
from contrast_tasks.runtime.kubelet_versions import KUBELETS, Kubelet
from contrast_tasks.runtime.objects import Namespace

# In the order of their numbers. Source: linux/capability.h, of Linux 5.9 and later.
KERNEL_CAPABILITIES: Final = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)


class Image(Record):
    """An image as the node sees it; members as in its configuration.

    passwd, group: contents of /etc/passwd and /etc/group, None where the image has no such file or the node does not
    unpack it, because the guest pulls it. layers: name and root hash of each, the top one first, where nodes attach them.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    working_dir: str = ""
    user: str = ""
    volumes: tuple[str, ...] = ()
    passwd: str | None = None
    group: str | None = None
    layers: tuple[tuple[str, str], ...] = ()


class Device(Record):
    """A device node of the host and where a container sees it; kind: `c` or `b`, access: of `rwm`."""

    path: str
    kind: str
    major: int
    minor: int
    file_mode: int
    access: str = "rwm"
    uid: int = 0
    gid: int = 0


class Handler(Record):
    """A runtime handler of containerd's configuration.

    forwarded: patterns of pod annotations that reach the runtime; `*` stands for any characters but a slash.
    host_devices: privileged containers get all devices of the node.
    """

    forwarded: tuple[str, ...] = ()
    host_devices: bool = True


KATA: Final = Handler(forwarded=("io.katacontainers.*",), host_devices=False)
RUNC: Final = Handler()


PAUSE: Final = Image(entrypoint=("/pause",), user="65535:65535", working_dir="/")
# That of nodes which attach layers. Source: docs/internals/aks.md 1.4.
AKS_PAUSE: Final = PAUSE.replace(
    layers=(
        (
            "5a5aad80055ff20012a50dc25f8df7a29924474324d65f7d5306ee8ee27ff71d",
            "817250f1a3e336da76f5bd3fa784e1b26d959b9c131876815ba2604048b70c18",
        ),
    )
)


class Node(Record):
    """A node.

    opens_ports: the switches enable_unprivileged_ports and enable_unprivileged_icmp, None for the version's default.
    daemon_oom_score: that of containerd, below which restrict_oom_score does not let containers go.
    resolver: the node's own resolv.conf, dns_server and domain those of the cluster.
    capabilities: those that containerd itself has; "all" means these.
    seccomp_profiles: documents by their path below the kubelet's folder. apparmor: names of the profiles that the
    kernel has loaded, None for a node without AppArmor. root_ca_bytes: size of the cluster's certificate.
    volume_mode: permissions of the folders of volumes, None for what the kubelet gives them. snapshots: the folder of
    the snapshotter that keeps the layers of images as files.
    """

    containerd: Containerd = CONTAINERD[-1]
    kubelet: Kubelet = KUBELETS[-1]
    handler: Handler = KATA
    pause: Image = PAUSE
    pause_image: str = "registry.k8s.io/pause:3.10"
    opens_ports: bool | None = None
    restrict_oom_score: bool = False
    daemon_oom_score: int = 0
    name: str = "node"
    hostname: str = "node"
    address: str = "192.0.2.10"
    cpus: int = 2
    memory_bytes: int = 16 * 2**30
    resolver: Dns = Dns(servers=("192.0.2.53",))
    dns_server: str = "10.96.0.10"
    domain: str = "cluster.local"
    api_server: tuple[str, int] = ("10.96.0.1", 443)
    capabilities: tuple[str, ...] = KERNEL_CAPABILITIES
    devices: tuple[Device, ...] = ()
    seccomp_profiles: Mapping[str, Any] = {}
    apparmor: tuple[str, ...] | None = None
    root_ca_bytes: int = 1107
    volume_mode: int | None = None
    snapshots: str = "/var/lib/containerd/io.containerd.snapshotter.v1.tardev"


class Drawn(Record):
    """What cluster and node draw for one pod: identifiers, addresses, names.

    container_ids: by container name. devices: what volumes in block mode and device plugins give, by container name; device_variables: what
    device plugins tell it.
    termination_log: name of the file with a container's last words. token_volume: that of the service account's token.
    volume_id: name of the folder for a VOLUME of an image. token_bytes: size of the token. stamp: name of the folder
    that holds the files of a volume.
    """

    uid: str
    sandbox_id: str
    container_ids: Mapping[str, str]
    sandbox_pid: str = "4711"
    network_namespace: str = "cni-00000000-0000-0000-0000-000000000001"
    addresses: tuple[str, ...] = ("10.244.0.14",)
    termination_log: str = "0a1b2c3d"
    token_volume: str = "kube-api-access-x7k2p"  # noqa: S105  # a volume's name
    token_bytes: int = 1194
    stamp: str = "..2026_11_30_00_00_00.1234567890"
    volume_id: str = "0" * 64
    devices: Mapping[str, tuple[Device, ...]] = {}
    device_variables: Mapping[str, Mapping[str, str]] = {}


class Surroundings(NamedTuple):
    """All that a pod's containers depend on besides the pod itself and its images."""

    namespace: Namespace
    node: Node
    drawn: Drawn
