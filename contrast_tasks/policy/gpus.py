"""Passed-through GPUs: the resources that request them, and what a container gets (docs/internals/policy.md 4.13)."""

import re

from contrast_tasks import catalogue
from contrast_tasks.pods.quantities import QuantityError, parse_quantity
from contrast_tasks.policy.place import Place

# Device nodes of passed-through devices; no volume may be attached there.
DEVICE_PREFIX = "/dev/vfio/devices/vfio"
# The device plugin sets these to PCI addresses, which the host chooses.
VARIABLES = r"PCI_RESOURCE_NVIDIA_COM[A-Z0-9_]*=[a-fA-F0-9:.,-]*"


_VENDOR = "nvidia.com/"
# Those that the vendor's other plugin offers: GPUs that stay with the node's kernel, shares and slices of them.
_NOT_PASSED = re.compile(r"nvidia\.com/(gpu|mig-.*|.*\.shared)")


def container_gpus(container: Place) -> int:
    """Return the number of GPUs in the container's limits; another resource of a device plugin becomes an error.

    The plugin for passed-through GPUs names its resources `pgpu`, by the model as `GH100_H100_PCIE`, or as its own settings
    say, so any name of the vendor's means them but those of its other plugin.
    """
    resources = container.mapping("resources")
    for table in ("limits", "requests"):
        for name in map(str, resources.mapping(table).value):
            if _NOT_PASSED.fullmatch(name):
                resources.mapping(table).at(name).report(
                    catalogue.UNSUPPORTED_FIELD,
                    f"the resource {name} is a GPU of the node's own kernel, which no guest has",
                    "ask for nvidia.com/pgpu, or for the model as the node's allocatable resources name it",
                )
            elif _is_extended(name) and not name.startswith(_VENDOR):
                resources.mapping(table).at(name).report(
                    catalogue.UNSUPPORTED_FIELD,
                    f"the resource {name} passes through a device that policies do not describe",
                    f"only GPUs are passed through, {_VENDOR}<model>; remove it, or leave this workload out of the"
                    " confidential ones",
                )
    limits = resources.mapping("limits")
    return sum(_count(limits.at(name)) for name in map(str, limits.value) if _is_gpu(name))


def _is_gpu(name: str) -> bool:
    return name.startswith(_VENDOR) and _NOT_PASSED.fullmatch(name) is None


def _is_extended(name: str) -> bool:
    """Return whether a device plugin may stand behind a resource: its name has a domain that is not Kubernetes' own.

    Source: Kubernetes, IsExtendedResourceName; docs/internals/reality.md 1.13.
    """
    domain, slash, _ = name.partition("/")
    return bool(slash) and domain != "kubernetes.io" and not domain.endswith(".kubernetes.io")


def _count(place: Place) -> int:
    if place.value is None:
        return 0
    try:
        number = parse_quantity(place.value)
    except QuantityError:
        number = -1
    if number < 0 or number != int(number):
        place.wrong("a whole number")
        return 0
    return int(number)
