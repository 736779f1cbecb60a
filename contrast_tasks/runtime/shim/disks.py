"""The disks that a shim attaches to its guest: all to one SCSI controller, or each to a PCI slot of its own."""

from typing import Final

_UNITS: Final = 256  # of one target
# Slots of a PCI segment; the first segment is not used for disks that are attached later. docs/internals/aks.md 1.4.
_SLOTS: Final = 31


class Disks:
    """Which disks are attached, and for which containers; a new one gets the first address that is free."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._users: dict[str, set[str]] = {}

    def attach(self, disk: str, container: str) -> str:
        """Return the address of a disk, `target:unit`; disk: a folder or device of the host."""
        target, unit = divmod(self._number(disk, container), _UNITS)
        return f"{target}:{unit}"

    def attach_to_pci(self, disk: str, container: str) -> str:
        """Return the PCI address of a disk."""
        segment, slot = divmod(self._number(disk, container), _SLOTS)
        return f"{segment + 1:04x}:00:{slot + 1:02x}.0"

    def _number(self, disk: str, container: str) -> int:
        if disk not in self._numbers:
            used = set(self._numbers.values())
            self._numbers[disk] = next(n for n in range(len(used) + 1) if n not in used)
        self._users.setdefault(disk, set()).add(container)
        return self._numbers[disk]

    def release(self, container: str) -> None:
        """Detach the disks that only this container used."""
        for disk, users in list(self._users.items()):
            users.discard(container)
            if not users:
                del self._users[disk], self._numbers[disk]
