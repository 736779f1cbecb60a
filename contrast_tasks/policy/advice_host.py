"""The checks that are the same for every pod: what no honest runtime asks for, or what nodes and releases decide."""

from collections.abc import Mapping

from contrast_tasks.policy.check import (
    LINUX,
    MOUNTS,
    NEWER,
    PROCESS,
    RUNTIME,
    STORAGES,
    Check,
    fixed,
)

BY_HOST: Mapping[str, Check] = {
    "E_CGROUP": fixed(
        "the path of the control group leads upwards", "a path without ..", f"{LINUX}CgroupsPath"
    ),
    "E_DNS": fixed(
        "a line for resolv.conf is too long or has control characters",
        "lines of printable characters",
        "dns",
        change="none here: mend resolv.conf of the node, or dnsConfig of the pod",
    ),
    "E_FILE_TYPE": fixed(
        "what is copied is no file, directory or link that stays inside its directory",
        "Regular, Directory, or a Symlink without .. below a copied directory",
        "file_type",
        "symlink_target",
        "symlink_src",
    ),
    "E_HOOKS": fixed(
        "the host wants to run a hook in the guest", "none", "OCI/Hooks", "guest_hook_path"
    ),
    "E_ID": fixed(
        "the container is unknown, was removed, is not started or exists already, or the id has another form",
        "the id of a container in the right state",
        "container_id",
        "exec_id",
        change="none here: look for the denial before this one, which this one follows from",
    ),
    "E_IDMAP": fixed(
        "users of the container are mapped to others",
        "[]",
        f"{LINUX}UIDMappings",
        f"{LINUX}GIDMappings",
        change="leave hostUsers out of the pod: user namespaces do not reach the guest",
    ),
    "E_IMG_COUNT": fixed(
        "a container has one image, which the guest pulls", "one image", *STORAGES, change=RUNTIME
    ),
    "E_IMG_MOUNT": fixed(
        "the image is mounted at another place", "the root file system of the container", *STORAGES
    ),
    "E_IMG_OPTS": fixed(
        "the image is pulled with other options",
        "no options, or metadata that repeats the annotations",
        *STORAGES,
        change=RUNTIME,
    ),
    "E_INSTANCE": fixed(
        "another instance of the container runs",
        "no running instance",
        "container_id",
        change="none should: a second instance would share the identity of the first",
    ),
    "E_INTERFACE": fixed(
        "the network interface is malformed, or is the loopback interface",
        "an interface other than lo, with addresses outside of loopback",
        "interface",
    ),
    "E_LATE": fixed(
        "a file is to change after its container has started",
        "files of ConfigMaps, Secrets and the like only",
        "path",
    ),
    "E_LINUX": fixed(
        "there is a system call filter, a cache allocation or a mount label",
        "none",
        f"{LINUX}Seccomp",
        f"{LINUX}IntelRdt",
        f"{LINUX}MountLabel",
        change=f"take seLinuxOptions out of the pod, or: {RUNTIME}",
    ),
    "E_LOGS": fixed(
        "the host asks for the output of a container that handles secrets",
        "no output for the host",
        "container_id",
        change="none should: the initializer's output is for nobody; other containers show theirs",
    ),
    "E_LSM": fixed(
        "there is an SELinux label or a profile for the process",
        "none",
        f"{PROCESS}SelinuxLabel",
        f"{PROCESS}ApparmorProfile",
        change="take seLinuxOptions out of the pod",
    ),
    "E_MODE": fixed(
        "a copied file is setuid, setgid or sticky, or a number is negative",
        "plain modes",
        "file_mode",
        "dir_mode",
        "uid",
        "gid",
    ),
    "E_MODULES": fixed("the host wants to load kernel modules", "[]", "kernel_modules"),
    "E_MOUNT_DUP": fixed("a path is mounted twice", "each path once", *MOUNTS, change=RUNTIME),
    "E_NEIGHBOR": fixed(
        "a neighbor is malformed, or on the loopback interface",
        "neighbors outside of lo, with permanent or reachable addresses",
        "neighbors",
    ),
    "E_NAMESPACES": fixed(
        "the namespaces differ",
        "new ones for ipc, uts and mounts, each once",
        f"{LINUX}Namespaces",
        change="take hostPID and hostIPC out of the pod",
    ),
    "E_NETNS": fixed(
        "the container is to have a network of its own",
        "the network of the guest",
        f"{LINUX}Namespaces",
    ),
    "E_OS": fixed("there are parts for other systems", "none", "OCI/Solaris", "OCI/Windows"),
    "E_PATH": fixed(
        "a file is copied to a place that is not for copied files",
        "<shared folder>/<container id>-<16 characters>-<name>",
        "path",
    ),
    "E_REFUSED": fixed(
        "this request is never allowed, since it would read or change the guest from outside",
        "no such request",
        change="none should",
    ),
    "E_RESOURCES": fixed(
        "the limits name devices or have another form",
        "limits of processor and memory only",
        f"{LINUX}Resources",
        "resources",
    ),
    "E_RLIMITS": fixed(
        "the process has resource limits",
        "[]",
        f"{PROCESS}Rlimits",
        change="take the default limits out of the containerd configuration of the nodes",
    ),
    "E_ROOT_PATH": fixed(
        "the root file system is at another place",
        "<guest folder>/<container id>/rootfs",
        "OCI/Root/Path",
        change=RUNTIME,
    ),
    "E_ROUTE": fixed(
        "a route leads through or to the loopback interface",
        "routes outside of lo and its addresses",
        "routes",
    ),
    "E_SANDBOX": fixed("the guest has a sandbox already", "one sandbox", "sandbox_id"),
    "E_SANDBOX_ID": fixed(
        "the container belongs to another sandbox",
        "64 letters and digits, the same for the whole pod",
        "OCI/Annotations/io.kubernetes.cri.sandbox-id",
        "OCI/Annotations/io.kubernetes.cri.sandbox-uid",
        "sandbox_id",
    ),
    "E_SHARED_MOUNTS": fixed("mounts are shared between containers", "[]", "shared_mounts"),
    "E_STDIO": fixed(
        "input or output bypasses the agent",
        "ports 0",
        "stdin_port",
        "stdout_port",
        "stderr_port",
    ),
    "E_TYPE": fixed(
        "the runtime mistakes a container for the sandbox, or the other way round",
        "sandbox for the pause container, container for all others",
        "OCI/Annotations/io.kubernetes.cri.container-type",
        "OCI/Annotations/io.katacontainers.pkg.oci.container_type",
    ),
    "E_VERSION": fixed(
        "the specification is not of version 1", "1.x.y", "OCI/Version", change=NEWER
    ),
}
