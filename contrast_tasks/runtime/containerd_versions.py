"""What differs between versions of containerd, one row each. Nothing else in this package knows a version.

Source: recordings of containerd 1.6.20, 1.7.29 and 2.4.2; docs/internals/reality.md 1.15.
"""

from typing import Final

from contrast_tasks.errors import UsageError
from contrast_tasks.records import Record

# The masked paths of a sandbox in the order in which they are sent; /proc/scsi is appended to the default ones.
_MASKED: Final = (
    *("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware"),
)
_POWERCAP: Final = "/sys/devices/virtual/powercap"
_SCSI: Final = "/proc/scsi"
_PROTECTED: Final = ("rbind", "ro", "nosuid", "nodev", "noexec")
_SANDBOX: Final = "failed to generate sandbox container spec options: "
_CREATE: Final = "failed to create containerd container: "
# containerd 1.x reads /etc/passwd in a temporary mount of the image, whose name is in the error.
_MOUNT: Final = "/var/lib/containerd/tmpmounts/containerd-mount<N>"
_CALLBACK: Final = f"{_CREATE}mount callback failed on {_MOUNT}: "


class Containerd(Record):
    """One version of containerd, as far as its OCI specifications differ from those of others.

    sandbox_masked: masked paths of a sandbox; those of containers come from the kubelet.
    sandbox_file_options: of the sandbox's bind mounts, /dev/shm and /etc/resolv.conf.
    keeps_sandbox_tmpfs: the default tmpfs at /dev/shm stays in front of the bind mount that covers it.
    opens_ports: the two switches for unprivileged ports and ping are on unless the configuration says otherwise.
    writable_sandbox_sys: /sys of a sandbox is writable where a container of the pod is privileged.
    names_pause_image: the sandbox carries the annotation with the pause image's name.
    absolute_volumes: a VOLUME of an image that does not begin with a slash gets one.
    knows_recursive_readonly, knows_strict_groups: members of CRI that older versions ignore silently.
    unknown_user, no_passwd: the errors for a user by name that /etc/passwd lacks, and for an image without that file.
    group_alone: how the error begins for a pod that names a group and no user; `{id}` stands for the sandbox.
    """

    name: str
    oci_version: str
    sandbox_masked: tuple[str, ...]
    sandbox_file_options: tuple[str, ...] = _PROTECTED
    keeps_sandbox_tmpfs: bool = False
    opens_ports: bool = False
    writable_sandbox_sys: bool = False
    names_pause_image: bool = False
    absolute_volumes: bool = True
    knows_recursive_readonly: bool = False
    knows_strict_groups: bool = False
    unknown_user: str = f"{_CALLBACK}no users found"
    group_alone: str = _SANDBOX
    no_passwd: str = f"{_CALLBACK}open {_MOUNT}/etc/passwd: no such file or directory"


CONTAINERD: Final = (
    Containerd(
        name="1.6",
        oci_version="1.0.2-dev",
        sandbox_masked=(*_MASKED, _SCSI),
        sandbox_file_options=("rbind", "ro"),
        keeps_sandbox_tmpfs=True,
        absolute_volumes=False,
        group_alone="failed to generate sanbdox container spec options: ",  # as it is written there
    ),
    Containerd(name="1.7", oci_version="1.1.0", sandbox_masked=(*_MASKED, _POWERCAP, _SCSI)),
    Containerd(
        name="2",
        oci_version="1.3.0",
        sandbox_masked=(*_MASKED[:2], "/proc/interrupts", *_MASKED[2:], _POWERCAP, _SCSI),
        opens_ports=True,
        writable_sandbox_sys=True,
        names_pause_image=True,
        knows_recursive_readonly=True,
        knows_strict_groups=True,
        group_alone=f'failed to start sandbox "{{id}}": {_SANDBOX}',
        unknown_user=f"{_CREATE}no users found",
        no_passwd=f"{_CREATE}statat etc: no such file or directory",
    ),
)


def containerd_version(version: str) -> Containerd:
    """Return the row of a version such as `1.7.29` or `2.4.2`; raises UsageError for a line without one."""
    for row in CONTAINERD:
        if version == row.name or version.startswith(f"{row.name}."):
            return row
    known = ", ".join(row.name for row in CONTAINERD)
    raise UsageError(f"containerd {version} is not modelled", hint=f"modelled are {known}")
