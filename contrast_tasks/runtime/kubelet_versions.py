"""What differs between versions of the kubelet, one row for each change.

Source: Kubernetes 1.26 to 1.36, pkg/securitycontext; docs/internals/reality.md 1.15.
"""

import re
from typing import Final

from contrast_tasks.errors import UsageError
from contrast_tasks.records import Record


class Kubelet(Record):
    """The versions of the kubelet from Kubernetes 1.`since` on, as far as they change what containers are made of.

    masked, readonly: paths of a container that are hidden or read-only; privileged ones have none.
    masks_throttle: the folder with each processor's thermal throttle is masked too.
    """

    since: int
    masked: tuple[str, ...]
    readonly: tuple[str, ...]
    masks_throttle: bool = False

    def masked_paths(self, cpus: int) -> tuple[str, ...]:
        """Return the masked paths on a node with this many processors."""
        throttles = (
            f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(cpus)
        )
        return (*self.masked, *(throttles if self.masks_throttle else ()))


_ASOUND: Final = "/proc/asound"
_ACPI: Final = "/proc/acpi"
_OTHERS: Final = (
    *("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
)
_POWERCAP: Final = "/sys/devices/virtual/powercap"
_READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

KUBELETS: Final = (
    Kubelet(since=26, masked=(_ACPI, *_OTHERS), readonly=(_ASOUND, *_READONLY)),
    Kubelet(since=27, masked=(_ASOUND, _ACPI, *_OTHERS), readonly=_READONLY),
    Kubelet(since=31, masked=(_ASOUND, _ACPI, *_OTHERS, _POWERCAP), readonly=_READONLY),
    Kubelet(
        since=34,
        masked=(_ASOUND, _ACPI, "/proc/interrupts", *_OTHERS, _POWERCAP),
        readonly=_READONLY,
        masks_throttle=True,
    ),
)


def kubelet_version(version: str) -> Kubelet:
    """Return the row of a version such as `1.36.2`; raises UsageError for one before the first row."""
    found = re.fullmatch(r"v?1\.([0-9]+)(?:[.+-].*)?", version)
    rows = [row for row in KUBELETS if found and row.since <= int(found[1])]
    if not rows:
        raise UsageError(
            f"Kubernetes {version} is not modelled",
            hint=f"modelled are 1.{KUBELETS[0].since} and later",
        )
    return rows[-1]
