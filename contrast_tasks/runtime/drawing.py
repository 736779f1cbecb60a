"""What a cluster draws for a pod, made from its name, so that the same pod always gets the same."""

from collections.abc import Mapping
from typing import Any, Final

from contrast_tasks.decode import Json
from contrast_tasks.files import sha256_hex
from contrast_tasks.pods.quantities import parse_quantity
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.node import Device, Drawn
from contrast_tasks.runtime.objects import child, entries, text

_UID: Final = "31df313a-931f-4979-a405-cc3f3ccb6a56"
# Numbers of the first loop device. Source: Linux, admin-guide/devices.txt.
_LOOP: Final = 7
_GPU: Final = "nvidia.com/"
_VFIO: Final = 511  # a number that Linux leaves to be assigned


def drawn_for(pod: Mapping[str, Any]) -> Drawn:
    """Return identifiers and devices for a pod with a name and a namespace."""
    place = Json(pod)
    metadata = child(place, "metadata")
    name = f"{text(metadata, 'namespace', 'default')}/{text(metadata, 'name')}"
    containers = containers_of(place)
    gpus = {text(each, "name"): _gpus(each) for each in containers}
    return Drawn(
        uid=_UID,
        sandbox_id=identifier(name),
        container_ids={
            text(each, "name"): identifier(f"{name}/{text(each, 'name')}") for each in containers
        },
        devices={
            text(each, "name"): (*_disks(each), *_gpu_nodes(gpus[text(each, "name")]))
            for each in containers
        },
        device_variables={each: _gpu_variables(found) for each, found in gpus.items()},
    )


def identifier(name: str) -> str:
    """Return 64 hex digits."""
    return sha256_hex(name.encode())


def _disks(container: Json) -> tuple[Device, ...]:
    """Return the volumes in block mode."""
    return tuple(
        Device(path=text(each, "devicePath"), kind="b", major=_LOOP, minor=index, file_mode=0o644)
        for index, each in enumerate(entries(container, "volumeDevices"))
    )


def _gpus(container: Json) -> dict[str, int]:
    """Return the numbers of GPUs by the names of their resources."""
    limits = child(container, "resources", "limits")
    return {
        name: int(parse_quantity(each.value))
        for name, each in limits.members()
        if name.startswith(_GPU)
    }


def _gpu_nodes(gpus: Mapping[str, int]) -> tuple[Device, ...]:
    return tuple(
        Device(
            path=f"/dev/vfio/devices/vfio{index}",
            kind="c",
            major=_VFIO,
            minor=index,
            file_mode=0o600,
        )
        for index in range(sum(gpus.values()))
    )


def _gpu_variables(gpus: Mapping[str, int]) -> dict[str, str]:
    """Return what the device plugin tells a container: the addresses of the GPUs of each resource."""
    found, first = {}, 0
    for name, count in sorted(gpus.items()):
        key = name.upper().translate(str.maketrans("./-", "___"))
        addresses = [f"0000:{index:02x}:00.0" for index in range(first, first + count)]
        if addresses:
            found[f"PCI_RESOURCE_{key}"] = ",".join(addresses)
        first += count
    return found
