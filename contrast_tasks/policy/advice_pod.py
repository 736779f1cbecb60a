"""The checks of what a pod and its image decide, which a change of the YAML can allow."""

from collections.abc import Mapping

from contrast_tasks.policy.check import (
    AGAIN,
    LINUX,
    MOUNTS,
    NEVER,
    NEWER,
    PROCESS,
    RUNTIME,
    STORAGES,
    Check,
    field,
)

BY_POD: Mapping[str, Check] = {
    "E_ANNOTATION": Check(
        "an annotation is unknown, missing or has another value, and the agent acts on annotations",
        f"if the pod is to have it, write it into the annotations of the pod template; then {AGAIN}. Otherwise none should",
    ),
    "E_ARGS": field(
        "the command differs from that of the pod and its image",
        "command or args of the container",
        "process/args",
        f"{PROCESS}Args",
    ),
    "E_CAPS": field(
        "the capabilities differ from those of the pod and the runtime",
        "securityContext.capabilities of the container",
        "process/caps",
        f"{PROCESS}Capabilities",
    ),
    "E_CWD": field(
        "the working directory differs from that of the pod and its image",
        "workingDir of the container",
        "process/cwd",
        f"{PROCESS}Cwd",
    ),
    "E_DEVICE": Check(
        "the devices differ from volumeDevices and the GPUs in the limits of the container",
        f"list the device in volumeDevices, or the GPU in limits; then {AGAIN}",
        "devices",
        ("devices", f"{LINUX}Devices"),
    ),
    "E_ENV": Check(
        "variables are unexpected, missing, doubled or in another order",
        f"write the variable into env of the container, if it is meant; then {AGAIN}",
    ),
    "E_FIELD": Check(
        "the request has members that these rules do not know",
        NEWER,
    ),
    "E_HOSTNAME": field(
        "the host name is not the one of the pod",
        "hostname of the pod",
        "/pod/hostname",
        "OCI/Hostname",
        "hostname",
    ),
    "E_IMG_REF": Check(
        "the runtime pulls another image than the pinned one",
        f"run lock to pin the image that is meant; then {AGAIN}",
        "image",
        STORAGES,
    ),
    "E_MASKED": Check(
        "other paths of the kernel are masked than by the supported runtimes",
        f"compare privileged and procMount of the container, or: {RUNTIME}",
        "masked",
        (f"{LINUX}MaskedPaths",),
    ),
    "E_MOUNT_EXTRA": Check(
        "there is a mount that the policy does not know",
        f"list it in volumeMounts of the container, if it is meant; then {AGAIN}",
        asked=MOUNTS,
    ),
    "E_MOUNT_MISSING": Check(
        "a mount that the policy expects is missing",
        f"take it out of volumeMounts of the container, or set automountServiceAccountToken to false; then {AGAIN}",
        asked=MOUNTS,
    ),
    "E_MOUNT_OPTS": Check(
        "a mount has other options",
        f"compare readOnly and mountPropagation of the mount; then {AGAIN}, or: {RUNTIME}",
        asked=MOUNTS,
    ),
    "E_MOUNT_ORDER": Check(
        "a directory is mounted after one inside of it, and would hide it", NEVER, asked=MOUNTS
    ),
    "E_MOUNT_SRC": Check(
        "a mount shows something else than its volume",
        f"compare the volume of the mount; then {AGAIN}, or: {RUNTIME}",
        asked=MOUNTS,
    ),
    "E_MOUNT_TYPE": Check(
        "a mount has another file system",
        f"compare the kind of the volume; then {AGAIN}, or: {RUNTIME}",
        asked=MOUNTS,
    ),
    "E_NAME": Check(
        "a file is copied that no container of the pod mounts",
        f"mount it in a container, if it is meant; then {AGAIN}",
        "/copy/names",
        ("path",),
    ),
    "E_NNP": field(
        "whether the process may gain privileges differs",
        "allowPrivilegeEscalation of the container",
        "process/nnp",
        f"{PROCESS}NoNewPrivileges",
    ),
    "E_ORDER": Check(
        "containers start in the order of the pod, and one before this was not started",
        "none here: look for the denial of an earlier container, or why it did not start",
        "after",
        ("container_id",),
    ),
    "E_PIDNS": field(
        "whether containers share a process namespace differs",
        "shareProcessNamespace of the pod",
        "pidns",
        "sandbox_pidns",
    ),
    "E_POD_NAME": Check(
        "the pod belongs to another object than the policy",
        f"name the object as it is deployed; then {AGAIN}. A copied pod needs a policy of its own",
        "/pod/name_re",
        ("OCI/Annotations/io.kubernetes.cri.sandbox-name",),
    ),
    "E_POD_NAMESPACE": Check(
        "the pod runs in another namespace than its YAML says",
        f"write the namespace into metadata of the object, or deploy it there; then {AGAIN}",
        "/pod/namespace",
        ("OCI/Annotations/io.kubernetes.cri.sandbox-namespace",),
    ),
    "E_PROPAGATION": field(
        "whether mounts reach other containers differs",
        "mountPropagation of a mount",
        "propagation",
        f"{LINUX}RootfsPropagation",
    ),
    "E_READONLY": Check(
        "other paths of the kernel are read-only than by the supported runtimes",
        f"compare privileged and procMount of the container, or: {RUNTIME}",
        "readonly",
        (f"{LINUX}ReadonlyPaths",),
    ),
    "E_ROOT_RO": field(
        "whether the root file system is read-only differs",
        "readOnlyRootFilesystem of the container",
        "rootfs_ro",
        "OCI/Root/Readonly",
    ),
    "E_SELECT": Check(
        "the pod has a container that the policy does not know, such as one that a webhook injects",
        f"write the container into the YAML, or keep the webhook away from the pod; then {AGAIN}",
        "/containers/*/name",
        ("OCI/Annotations/io.kubernetes.cri.container-name",),
    ),
    "E_STORAGE": Check(
        "volumes reach the guest in another way",
        f"compare the volumes of the pod; then {AGAIN}, or: {RUNTIME}",
        "storages",
        ("storages",),
    ),
    "E_SYSCTL": field(
        "kernel parameters differ",
        "securityContext.sysctls of the pod",
        "/pod/sysctls",
        f"{LINUX}Sysctl",
    ),
    "E_TTY": field(
        "whether the container has a terminal differs",
        "tty of the container",
        "process/tty",
        f"{PROCESS}Terminal",
        f"{PROCESS}ConsoleSize",
    ),
    "E_USER": Check(
        "user or groups differ from those of the pod and its image",
        f"set runAsUser, runAsGroup and supplementalGroups explicitly; then {AGAIN}",
        "process/user",
        (f"{PROCESS}User", "string_user"),
    ),
}
