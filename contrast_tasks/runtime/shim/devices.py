"""Devices of the host that become devices of the guest: disks, and GPUs that are passed through.

Source: recordings; of GPUs, which were not recorded, docs/internals/policy.md 4.13.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

Given = Mapping[str, Any]
"""A device with the members of an OCI specification."""

_VFIO: Final = "/dev/vfio/devices/vfio"


class GuestDevices(NamedTuple):
    """What becomes of a container's devices.

    attached: those of the request. kept: those that stay in the specification. marks: annotations, by which the guest finds
    a device again.
    """

    attached: list[dict[str, Any]]
    kept: list[Given]
    marks: dict[str, str]


def guest_devices(given: list[Given], address: Callable[[str], str]) -> GuestDevices:
    """Return what becomes of devices; address: gives a disk its place, by what it is on the host."""
    passed = [each for each in given if each["path"].startswith(_VFIO)]
    kept = [each for each in given if each not in passed]
    disks = [_disk(each, address) for each in kept if each["type"] == "b"]
    numbers = [each["path"].removeprefix(_VFIO) for each in passed]
    return GuestDevices(
        [*disks, *(_gpu(number, index) for index, number in enumerate(numbers))],
        kept,
        {
            f"cdi.k8s.io/vfio{number}": f"nvidia.com/gpu={index}"
            for index, number in enumerate(numbers)
        },
    )


def _disk(given: Given, address: Callable[[str], str]) -> dict[str, Any]:
    return {
        "id": address(f"{given['major']}:{given['minor']}"),
        "type_": "scsi",
        "vm_path": "",
        "container_path": given["path"],
        "options": [],
    }


def _gpu(number: str, index: int) -> dict[str, Any]:
    return {
        "id": f"vfio{number}",
        "type_": "vfio-pci-gk",
        "vm_path": "",
        "container_path": f"{_VFIO}{number}",
        "options": [f"0000:{index:02x}:00.0={index + 1:02x}/00"],
    }
