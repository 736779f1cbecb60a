"""What each code of a denial checks, which values it compares, and what would allow the request (docs/internals/policy.md 10.5).

What the pod decides can be changed in its YAML. What an honest runtime never asks for should stay denied, and the text
says why.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Check(NamedTuple):
    """One check of a request.

    advice: what to look at first. change: the smallest change that would allow the request, or why none should.
    asked: paths of the values in the request. wanted: path of the value in the expectations of the container, behind `/`
    in the whole data block, or after `=` a text that stands for it. "" where the values are found otherwise.
    """

    advice: str
    change: str
    wanted: str = ""
    asked: tuple[str, ...] = ()


_LINUX = "OCI/Linux/"
_PROCESS = "OCI/Process/"
_NEVER = (
    "none should: no supported runtime asks for this, so somebody on the host changed the request"
)
_NEWER = "none here: update contrast-tasks if the runtime is newer than it, then generate and set the manifest again"
_RUNTIME = "set [runtime] release in contrast.toml to the release that runs on the nodes, then generate again"
_AGAIN = "generate, apply the YAML that it writes, and set the manifest"


def _field(advice: str, member: str, wanted: str, *asked: str) -> Check:
    change = f"write the value that is asked for into {member}, if it is meant; then {_AGAIN}"
    return Check(advice, change, wanted, asked)


def _fixed(advice: str, wanted: str, *asked: str, change: str = _NEVER) -> Check:
    return Check(advice, change, f"={wanted}", asked)


_MOUNTS = ("OCI/Mounts",)
_PULLS = ("storages",)
_CHECKS: Mapping[str, Check] = {
    "E_ANNOTATION": Check(
        "an annotation is unknown, missing or has another value, and the agent acts on annotations",
        f"if the pod is to have it, write it into the annotations of the pod template; then {_AGAIN}. Otherwise none should",
    ),
    "E_ARGS": _field(
        "the command differs from that of the pod and its image",
        "command or args of the container",
        "process/args",
        f"{_PROCESS}Args",
    ),
    "E_CAPS": _field(
        "the capabilities differ from those of the pod and the runtime",
        "securityContext.capabilities of the container",
        "process/caps",
        f"{_PROCESS}Capabilities",
    ),
    "E_CGROUP": _fixed(
        "the path of the control group leads upwards", "a path without ..", f"{_LINUX}CgroupsPath"
    ),
    "E_CWD": _field(
        "the working directory differs from that of the pod and its image",
        "workingDir of the container",
        "process/cwd",
        f"{_PROCESS}Cwd",
    ),
    "E_DEVICE": Check(
        "the devices differ from volumeDevices and the GPUs in the limits of the container",
        f"list the device in volumeDevices, or the GPU in limits; then {_AGAIN}",
        "devices",
        ("devices", f"{_LINUX}Devices"),
    ),
    "E_DNS": _fixed(
        "a line for resolv.conf is too long or has control characters",
        "lines of printable characters",
        "dns",
        change="none here: mend resolv.conf of the node, or dnsConfig of the pod",
    ),
    "E_ENV": Check(
        "variables are unexpected, missing, doubled or in another order",
        f"write the variable into env of the container, if it is meant; then {_AGAIN}",
    ),
    "E_FIELD": Check(
        "the request has members that these rules do not know",
        _NEWER,
    ),
    "E_FILE_TYPE": _fixed(
        "what is copied is no file, directory or link that stays inside its directory",
        "Regular, Directory, or a Symlink without .. below a copied directory",
        "file_type",
        "symlink_target",
    ),
    "E_HOOKS": _fixed(
        "the host wants to run a hook in the guest", "none", "OCI/Hooks", "guest_hook_path"
    ),
    "E_HOSTNAME": _field(
        "the host name is not the one of the pod",
        "hostname of the pod",
        "/pod/hostname",
        "OCI/Hostname",
        "hostname",
    ),
    "E_ID": _fixed(
        "the container is unknown, was removed, is not started or exists already, or the id has another form",
        "the id of a container in the right state",
        "container_id",
        "exec_id",
        change="none here: look for the denial before this one, which this one follows from",
    ),
    "E_IDMAP": _fixed(
        "users of the container are mapped to others",
        "[]",
        f"{_LINUX}UIDMappings",
        f"{_LINUX}GIDMappings",
        change="leave hostUsers out of the pod: user namespaces do not reach the guest",
    ),
    "E_IMG_COUNT": _fixed(
        "a container has one image, which the guest pulls", "one image", *_PULLS, change=_RUNTIME
    ),
    "E_IMG_MOUNT": _fixed(
        "the image is mounted at another place", "the root file system of the container", *_PULLS
    ),
    "E_IMG_OPTS": _fixed(
        "the image is pulled with other options",
        "no options, or metadata that repeats the annotations",
        *_PULLS,
        change=_RUNTIME,
    ),
    "E_IMG_REF": Check(
        "the runtime pulls another image than the pinned one",
        f"run lock to pin the image that is meant; then {_AGAIN}",
        "image",
        _PULLS,
    ),
    "E_INSTANCE": _fixed(
        "another instance of the container runs",
        "no running instance",
        "container_id",
        change="none should: a second instance would share the identity of the first",
    ),
    "E_INTERFACE": _fixed(
        "the network interface is malformed, or is the loopback interface",
        "an interface other than lo, with addresses outside of loopback",
        "interface",
    ),
    "E_LATE": _fixed(
        "a file is to change after its container has started",
        "files of ConfigMaps, Secrets and the like only",
        "path",
    ),
    "E_LINUX": _fixed(
        "there is a system call filter, a cache allocation or a mount label",
        "none",
        f"{_LINUX}Seccomp",
        f"{_LINUX}IntelRdt",
        f"{_LINUX}MountLabel",
        change=f"take seLinuxOptions out of the pod, or: {_RUNTIME}",
    ),
    "E_LOGS": _fixed(
        "the host asks for the output of a container that handles secrets",
        "no output for the host",
        "container_id",
        change="none should: the initializer's output is for nobody; other containers show theirs",
    ),
    "E_LSM": _fixed(
        "there is an SELinux label or a profile for the process",
        "none",
        f"{_PROCESS}SelinuxLabel",
        f"{_PROCESS}ApparmorProfile",
        change="take seLinuxOptions out of the pod",
    ),
    "E_MASKED": Check(
        "other paths of the kernel are masked than by the supported runtimes",
        f"compare privileged and procMount of the container, or: {_RUNTIME}",
        "masked",
        (f"{_LINUX}MaskedPaths",),
    ),
    "E_MODE": _fixed(
        "a copied file is setuid, setgid or sticky, or a number is negative",
        "plain modes",
        "file_mode",
        "dir_mode",
        "uid",
        "gid",
    ),
    "E_MODULES": _fixed("the host wants to load kernel modules", "[]", "kernel_modules"),
    "E_MOUNT_DUP": _fixed("a path is mounted twice", "each path once", *_MOUNTS, change=_RUNTIME),
    "E_MOUNT_EXTRA": Check(
        "there is a mount that the policy does not know",
        f"list it in volumeMounts of the container, if it is meant; then {_AGAIN}",
        asked=_MOUNTS,
    ),
    "E_MOUNT_MISSING": Check(
        "a mount that the policy expects is missing",
        f"take it out of volumeMounts of the container, or set automountServiceAccountToken to false; then {_AGAIN}",
        asked=_MOUNTS,
    ),
    "E_MOUNT_OPTS": Check(
        "a mount has other options",
        f"compare readOnly and mountPropagation of the mount; then {_AGAIN}, or: {_RUNTIME}",
        asked=_MOUNTS,
    ),
    "E_MOUNT_ORDER": Check(
        "a directory is mounted after one inside of it, and would hide it", _NEVER, asked=_MOUNTS
    ),
    "E_MOUNT_SRC": Check(
        "a mount shows something else than its volume",
        f"compare the volume of the mount; then {_AGAIN}, or: {_RUNTIME}",
        asked=_MOUNTS,
    ),
    "E_MOUNT_TYPE": Check(
        "a mount has another file system",
        f"compare the kind of the volume; then {_AGAIN}, or: {_RUNTIME}",
        asked=_MOUNTS,
    ),
    "E_NAME": Check(
        "a file is copied that no container of the pod mounts",
        f"mount it in a container, if it is meant; then {_AGAIN}",
        "/copy/names",
        ("path",),
    ),
    "E_NAMESPACES": _field(
        "the namespaces differ",
        "hostNetwork, hostPID and hostIPC of the pod",
        "namespaces",
        f"{_LINUX}Namespaces",
    ),
    "E_NEIGHBOR": _fixed(
        "a neighbor is malformed, or on the loopback interface",
        "neighbors outside of lo, with permanent or reachable addresses",
        "neighbors",
    ),
    "E_NETNS": _fixed(
        "the container is to have a network of its own",
        "the network of the guest",
        f"{_LINUX}Namespaces",
    ),
    "E_NNP": _field(
        "whether the process may gain privileges differs",
        "allowPrivilegeEscalation of the container",
        "process/nnp",
        f"{_PROCESS}NoNewPrivileges",
    ),
    "E_ORDER": Check(
        "containers start in the order of the pod, and one before this was not started",
        "none here: look for the denial of an earlier container, or why it did not start",
        "after",
        ("container_id",),
    ),
    "E_OS": _fixed("there are parts for other systems", "none", "OCI/Solaris", "OCI/Windows"),
    "E_PATH": _fixed(
        "a file is copied to a place that is not for copied files",
        "<shared folder>/<container id>-<16 characters>-<name>",
        "path",
    ),
    "E_PIDNS": _field(
        "whether containers share a process namespace differs",
        "shareProcessNamespace of the pod",
        "pidns",
        "sandbox_pidns",
    ),
    "E_POD_NAME": Check(
        "the pod belongs to another object than the policy",
        f"name the object as it is deployed; then {_AGAIN}. A copied pod needs a policy of its own",
        "/pod/name_re",
        ("OCI/Annotations/io.kubernetes.cri.sandbox-name",),
    ),
    "E_POD_NAMESPACE": Check(
        "the pod runs in another namespace than its YAML says",
        f"write the namespace into metadata of the object, or deploy it there; then {_AGAIN}",
        "/pod/namespace",
        ("OCI/Annotations/io.kubernetes.cri.sandbox-namespace",),
    ),
    "E_PROPAGATION": _field(
        "whether mounts reach other containers differs",
        "mountPropagation of a mount",
        "propagation",
        f"{_LINUX}RootfsPropagation",
    ),
    "E_READONLY": Check(
        "other paths of the kernel are read-only than by the supported runtimes",
        f"compare privileged and procMount of the container, or: {_RUNTIME}",
        "readonly",
        (f"{_LINUX}ReadonlyPaths",),
    ),
    "E_REFUSED": _fixed(
        "this request is never allowed, since it would read or change the guest from outside",
        "no such request",
        change="none should",
    ),
    "E_RESOURCES": _fixed(
        "the limits name devices or have another form",
        "limits of processor and memory only",
        f"{_LINUX}Resources",
        "resources",
    ),
    "E_RLIMITS": _fixed(
        "the process has resource limits",
        "[]",
        f"{_PROCESS}Rlimits",
        change="take the default limits out of the containerd configuration of the nodes",
    ),
    "E_ROOT_PATH": _fixed(
        "the root file system is at another place",
        "<guest folder>/<container id>/rootfs",
        "OCI/Root/Path",
        change=_RUNTIME,
    ),
    "E_ROOT_RO": _field(
        "whether the root file system is read-only differs",
        "readOnlyRootFilesystem of the container",
        "rootfs_ro",
        "OCI/Root/Readonly",
    ),
    "E_ROUTE": _fixed(
        "a route leads through or to the loopback interface",
        "routes outside of lo and its addresses",
        "routes",
    ),
    "E_SANDBOX": _fixed("the guest has a sandbox already", "one sandbox", "sandbox_id"),
    "E_SANDBOX_ID": _fixed(
        "the container belongs to another sandbox",
        "64 letters and digits, the same for the whole pod",
        "OCI/Annotations/io.kubernetes.cri.sandbox-id",
        "OCI/Annotations/io.kubernetes.cri.sandbox-uid",
        "sandbox_id",
    ),
    "E_SELECT": Check(
        "the pod has a container that the policy does not know, such as one that a webhook injects",
        f"write the container into the YAML, or keep the webhook away from the pod; then {_AGAIN}",
        "/containers/*/name",
        ("OCI/Annotations/io.kubernetes.cri.container-name",),
    ),
    "E_SHARED_MOUNTS": _fixed("mounts are shared between containers", "[]", "shared_mounts"),
    "E_STDIO": _fixed(
        "input or output bypasses the agent",
        "ports 0",
        "stdin_port",
        "stdout_port",
        "stderr_port",
    ),
    "E_STORAGE": Check(
        "volumes reach the guest in another way",
        f"compare the volumes of the pod; then {_AGAIN}, or: {_RUNTIME}",
        "storages",
        ("storages",),
    ),
    "E_SYSCTL": _field(
        "kernel parameters differ",
        "securityContext.sysctls of the pod",
        "/shared/sysctls",
        f"{_LINUX}Sysctl",
    ),
    "E_TTY": _field(
        "whether the container has a terminal differs",
        "tty of the container",
        "process/tty",
        f"{_PROCESS}Terminal",
        f"{_PROCESS}ConsoleSize",
    ),
    "E_TYPE": Check(
        "the runtime mistakes a container for the sandbox, or the other way round",
        _NEVER,
        "type",
        (
            "OCI/Annotations/io.kubernetes.cri.container-type",
            "OCI/Annotations/io.katacontainers.pkg.oci.container_type",
        ),
    ),
    "E_USER": Check(
        "user or groups differ from those of the pod and its image",
        f"set runAsUser, runAsGroup and supplementalGroups explicitly; then {_AGAIN}",
        "process/user",
        (f"{_PROCESS}User", "string_user"),
    ),
    "E_VERSION": _fixed(
        "the specification is not of version 1", "1.x.y", "OCI/Version", change=_NEWER
    ),
}
# Where a check of another request compares something else.
_OTHERS: Mapping[tuple[str, str], Check] = {
    ("ExecProcessRequest", "E_ARGS"): Check(
        "only commands of probes and lifecycle hooks may be run",
        f"write the command into a probe or hook of the container, if it is meant; then {_AGAIN}. 'kubectl exec' stays denied",
        "exec",
        ("process/Args",),
    ),
    ("ExecProcessRequest", "E_CAPS"): _fixed(
        "a command gets the capabilities of its container", "none", "process/Capabilities"
    ),
    ("ExecProcessRequest", "E_TTY"): Check(
        "a command has a terminal only where the container has one",
        f"set tty of the container; then {_AGAIN}. 'kubectl exec -t' stays denied",
        "process/tty",
        ("process/Terminal", "process/ConsoleSize"),
    ),
    ("CreateSandboxRequest", "E_STORAGE"): Check(
        "the sandbox has other storages", _RUNTIME, "/sandbox/storages", ("storages",)
    ),
    ("CreateSandboxRequest", "E_PIDNS"): _fixed(
        "containers share a process namespace by way of the sandbox", "false", "sandbox_pidns"
    ),
}
_UNKNOWN = Check(
    "the code is cut off, or of another version",
    "none here: use the contrast-tasks that wrote the policy",
)


def known_codes() -> frozenset[str]:
    """Return the codes that have an explanation."""
    return frozenset(_CHECKS)


def check_of(kind: str, code: str) -> Check:
    """Return what a code checks in a request of that kind."""
    found = _OTHERS.get((kind, code)) or _CHECKS.get(code, _UNKNOWN)
    if kind == "ExecProcessRequest":
        return found._replace(asked=tuple(p.replace(_PROCESS, "process/") for p in found.asked))
    return found
