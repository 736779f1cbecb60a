"""What differs between versions of the kubelet, one row each.

Source: Kubernetes, pkg/securitycontext; docs/internals/reality.md 1.15.
"""

from typing import Final

from contrast_tasks.records import Record


class Kubelet(Record):
    """One version of the kubelet, as far as it changes what containers are made of.

    masked, readonly: paths of a container that are hidden or read-only; privileged ones have none.
    masks_throttle: the folder with each processor's thermal throttle is masked too.
    """

    name: str
    masked: tuple[str, ...]
    readonly: tuple[str, ...]
    masks_throttle: bool = False

    def masked_paths(self, cpus: int) -> tuple[str, ...]:
        """Return the masked paths on a node with this many processors."""
        throttles = (
            f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(cpus)
        )
        return (*self.masked, *(throttles if self.masks_throttle else ()))


_TIMERS: Final = (
    *("/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list"),
    *("/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
)
_READONLY: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

KUBELET_1_36: Final = Kubelet(
    name="1.36",
    masked=(
        *("/proc/asound", "/proc/acpi", "/proc/interrupts"),
        *_TIMERS,
        "/sys/devices/virtual/powercap",
    ),
    readonly=_READONLY,
    masks_throttle=True,
)
# /proc/asound was read-only before it was hidden.
KUBELET_EARLIER: Final = Kubelet(
    name="earlier", masked=("/proc/acpi", *_TIMERS), readonly=("/proc/asound", *_READONLY)
)
KUBELETS: Final = (KUBELET_EARLIER, KUBELET_1_36)
