"""What the host may still choose in requests that a policy allows: for auditors, and for tests that bend requests.

Every other change of an honest request is denied. A host can always refuse to run a pod, stop it, or starve it, so choices
that lead to nothing else are left to it.
"""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple


class HostChoice(NamedTuple):
    """A member that the host chooses, and within which bounds.

    request: name of the message. members: paths below it, separated by blanks; `*` stands for each element of a list, and
    `?` for a member that no agent knows.
    """

    request: str
    members: str
    bounds: str

    def has(self, request: str, member: str) -> bool:
        """Return whether the choice is about a member at a path."""
        return request == self.request and any(
            fnmatchcase(member, each.replace("*", "[*]").replace("?", "[?]").replace("...", "*"))
            for each in self.members.split()
        )


_CREATE = "CreateContainerRequest"
_EXEC = "ExecProcessRequest"
_INTERFACE = "UpdateInterfaceRequest"
_ROUTES = "UpdateRoutesRequest"
_NEIGHBOURS = "AddARPNeighborsRequest"
_COPY = "CopyFileRequest"
_LIMITS = "limits of processor and memory, in numbers; a container may starve or be killed"
_NAMED = "any name but that of the loopback interface"

HOST_CHOICES: tuple[HostChoice, ...] = (
    HostChoice(
        "CreateSandboxRequest",
        "dns dns/*",
        "up to 256 lines of resolv.conf, without control characters",
    ),
    HostChoice(
        "CreateSandboxRequest",
        "hostname",
        "only once; it is compared with the pod's name when the pause container is created",
    ),
    HostChoice("CreateSandboxRequest", "sandbox_id", "64 characters, only once"),
    HostChoice("CreateSandboxRequest", "storages/* storages/*/shared", "absent in older agents"),
    HostChoice(_INTERFACE, "interface/device interface/name", _NAMED),
    HostChoice(_INTERFACE, "interface/IPAddresses...", "any addresses but loopback ones"),
    HostChoice(_INTERFACE, "interface/hwAddr", "any hardware address but zero"),
    HostChoice(
        _INTERFACE, "interface/mtu interface/raw_flags", "any number; of the flags only NOARP"
    ),
    HostChoice(_INTERFACE, "interface/type_", "a word"),
    HostChoice(_ROUTES, "routes/Routes...", "any routes but by way of the loopback interface"),
    HostChoice(
        _NEIGHBOURS,
        "neighbors/ARPNeighbors...",
        "any neighbours but on the loopback interface",
    ),
    HostChoice(
        _COPY,
        "path",
        "identifiers of containers, and paths below the names that the pod mounts",
    ),
    HostChoice(
        _COPY,
        "file_mode dir_mode uid gid file_size offset symlink_target",
        "owner and permissions without setuid, size, and targets of links that lead nowhere else; the"
        " content of files is the host's in any case",
    ),
    HostChoice(
        _CREATE,
        "container_id exec_id",
        "an identifier that no other container has; paths in the request repeat it",
    ),
    HostChoice(_CREATE, "OCI/Version", "a version 1, also one of development"),
    HostChoice(_CREATE, "OCI/Process/OOMScoreAdj", "any number; how early the process is killed"),
    HostChoice(_CREATE, "OCI/Process/ApparmorProfile", "a name; the guest has no AppArmor"),
    HostChoice(
        _CREATE,
        "OCI/Process/Env/*",
        "order of the pod's own variables; variables of Services that the pod does not define; values that the"
        " pod takes from the host, as its addresses; variables that are optional",
    ),
    HostChoice(
        _CREATE,
        "OCI/Process/User/GID OCI/Process/User/AdditionalGids...",
        "the groups of the image's files, or none of them",
    ),
    HostChoice(
        _CREATE,
        "OCI/Process/Capabilities/Bounding/* OCI/Process/Capabilities/Effective/* OCI/Process/Capabilities/Permitted/*",
        "their order, and the prefix CAP_",
    ),
    HostChoice(_CREATE, "OCI/Linux/CgroupsPath", "a path that does not lead upwards"),
    HostChoice(_CREATE, "OCI/Linux/Resources/CPU... OCI/Linux/Resources/Memory...", _LIMITS),
    HostChoice(_CREATE, "OCI/Linux/Resources/HugepageLimits...", _LIMITS),
    HostChoice(
        _CREATE,
        "OCI/Linux/MaskedPaths/* OCI/Linux/ReadonlyPaths/*",
        "their order; whether /proc/interrupts, powercap and thermal_throttle are masked, and /proc/asound or"
        " read-only",
    ),
    HostChoice(
        _CREATE,
        "OCI/Linux/Namespaces/* OCI/Linux/Namespaces/*/Type",
        "their order, `mnt` for `mount`, and a new cgroup namespace",
    ),
    HostChoice(
        _CREATE,
        "OCI/Linux/Sysctl OCI/Linux/Sysctl/net.ipv4.ip_unprivileged_port_start OCI/Linux/Sysctl/net.ipv4.ping_group_range",
        "whether the sandbox has the runtime's two defaults, unless the pod sets them",
    ),
    HostChoice(
        _CREATE,
        "OCI/Linux/Devices/* OCI/Linux/Devices/*/Major OCI/Linux/Devices/*/Minor OCI/Linux/Devices/*/FileMode"
        " OCI/Linux/Devices/*/UID OCI/Linux/Devices/*/GID devices/* devices/*/id devices/*/type_",
        "which disk is attached, and its numbers on the host",
    ),
    HostChoice(
        _CREATE,
        "OCI/Mounts/*",
        "their order, as long as no mount hides another; the pause container's shared memory twice",
    ),
    HostChoice(
        _CREATE,
        "OCI/Annotations/io.kubernetes.cri.sandbox-cpu... OCI/Annotations/io.kubernetes.cri.sandbox-memory"
        " OCI/Annotations/io.kubernetes.cri.podsandbox.image-name OCI/Annotations/nerdctl/network-namespace"
        " OCI/Annotations/io.kubernetes.cri.sandbox-log-directory OCI/Annotations/io.kubernetes.cri.image-name"
        " OCI/Annotations/io.katacontainers...",
        "numbers and names of the host; forwarded annotations may be absent, but have no other value",
    ),
    HostChoice(
        _CREATE,
        "storages/* storages/*/shared storages/*/source storages/*/driver",
        "their order; spellings of the pinned image; which disk the host attaches for an encrypted emptyDir",
    ),
    HostChoice(
        _CREATE,
        "storages/*/driver_options storages/*/driver_options/*",
        "none, or the annotations again, with labels of the host's snapshotter",
    ),
    HostChoice(_EXEC, "exec_id", "an identifier that is no container's"),
    HostChoice(_EXEC, "process/OOMScoreAdj", "any number"),
    HostChoice(_EXEC, "process/Env/*", "as when the container is created"),
    HostChoice(
        _EXEC,
        "process/User/GID process/User/AdditionalGids...",
        "as when the container is created",
    ),
    HostChoice(_EXEC, "process/NoNewPrivileges", "false, or as in the container"),
    HostChoice(_EXEC, "process/Capabilities...", "none, which are those of the container"),
    HostChoice(
        "UpdateContainerRequest",
        "resources/CPU... resources/Memory... resources/Hugepage...",
        _LIMITS,
    ),
    HostChoice(
        "SignalProcessRequest",
        "exec_id signal ?",
        "any signal to a container that exists; so an init container may be ended before it has finished",
    ),
    HostChoice(
        "ReadStreamRequest", "exec_id len ?", "any output of containers whose output is not hidden"
    ),
    HostChoice("StartContainerRequest", "?", "nothing; agents have no other member"),
    HostChoice("RemoveContainerRequest", "...", "a container is removed at any time"),
    *(
        HostChoice(request, "...", "at any time; it measures, waits for or ends what runs")
        for request in (
            *("DestroySandboxRequest", "GetOOMEventRequest", "GuestDetailsRequest"),
            *("OnlineCPUMemRequest", "RemoveStaleVirtiofsShareMountsRequest"),
            *("StatsContainerRequest", "TtyWinResizeRequest", "WaitProcessRequest"),
        )
    ),
)


def choices_of(request: str, member: str) -> Iterator[HostChoice]:
    """Yield the choices that are about a member of a request."""
    return (each for each in HOST_CHOICES if each.has(request, member))
