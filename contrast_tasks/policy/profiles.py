"""Runtime profiles and the constants of runtimes (docs/internals/policy.md 4-8)."""

from collections.abc import Mapping
from typing import Any

from contrast_tasks.platforms import Platform
from contrast_tasks.policy.model import LayerFacts, Profile
from contrast_tasks.releases.shims import CopyForm, EmptyDirs, copy_form_of, empty_dirs_of
from contrast_tasks.releases.table import Release

# containerd's default capabilities (docs/internals/policy.md 4.6), without the prefix CAP_, which only some runtimes write.
DEFAULT_CAPS = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
)
# Linux, include/uapi/linux/capability.h: 41 capabilities, numbers 0 to 40.
ALL_CAPS = (
    *DEFAULT_CAPS,
    "DAC_READ_SEARCH",
    "LINUX_IMMUTABLE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "LEASE",
    "AUDIT_CONTROL",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
)
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
)
# Runtimes have /proc/asound here or among the masked paths.
READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHM_STORAGE: Mapping[str, Any] = {
    "driver": "ephemeral",
    "driver_options": [],
    "source": "shm",
    "fstype": "tmpfs",
    "options": ["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
    "mount_point": "/run/kata-containers/sandbox/shm",
    "fs_group": None,
    "shared": False,
}
# The optional requests; whether the host may read logs is decided for each container.
_REQUESTS = {
    "CloseStdinRequest": False,
    "GetDiagnosticDataRequest": False,
    "WriteStreamRequest": False,
}

KATA_QEMU = Profile(name="kata-qemu", sandbox_storages=(SHM_STORAGE,), requests=_REQUESTS)
KATA_QEMU_BLOCK = KATA_QEMU.replace(name="kata-qemu-block", empty_dirs="block-encrypted")
KATA_QEMU_BYTES = KATA_QEMU.replace(name="kata-qemu-bytes", copy_form="bytes")
_BY_FORM: Mapping[tuple[EmptyDirs, CopyForm], Profile] = {
    (each.empty_dirs, each.copy_form): each
    for each in (KATA_QEMU, KATA_QEMU_BLOCK, KATA_QEMU_BYTES)
}
_SNAPSHOTTER = r"/var/lib/containerd/io\.containerd\.snapshotter\.v1\.tardev"
# The pause image of the node's containerd: mcr.microsoft.com/oss/kubernetes/pause:3.6. Source: docs/internals/aks.md 1.4.
_AKS_PAUSE = KATA_QEMU.pause.replace(
    layers=(
        LayerFacts(
            diff_id="sha256:9760f55e20e3f4eb6b837e1b323b3c6f29b1ef4a4617fe98625ead879e91b1c1",
            root="817250f1a3e336da76f5bd3fa784e1b26d959b9c131876815ba2604048b70c18",
        ),
    )
)
# The folder has no effect in the guest; it is that of the stock snapshotter, or of one that the runtime's handler brings.
KATA_AKS = KATA_QEMU.replace(
    name="kata-aks",
    copy_form="link",
    root_prefix="/run/kata-containers/shared/containers/",
    root_end="",
    layer_folder=f"^{_SNAPSHOTTER}(-contrast-cc-aks-clh-snp(-[0-9a-f]+)?)?/layers$",
    shared_paths=("/run/kata-containers/shared/containers/",),
    pause=_AKS_PAUSE,
)
PROFILES: Mapping[str, Profile] = {each.name: each for each in (*_BY_FORM.values(), KATA_AKS)}


def profile_of(release: Release, platform: Platform) -> Profile:
    """Return the profile of the runtime of a release on a platform."""
    if platform.attaches_layers:
        return KATA_AKS
    shim = release.shim_of(platform.name)
    return _BY_FORM[empty_dirs_of(shim), copy_form_of(shim)]
