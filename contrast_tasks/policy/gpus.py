"""Passed-through GPUs: the resources that request them, and what a container gets (docs/internals/policy.md 4.13)."""

from decimal import Decimal

from contrast_tasks import catalogue
from contrast_tasks.pods.quantities import QuantityError, parse_quantity
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.place import Place

# Device nodes of passed-through devices; no volume may be attached there.
DEVICE_PREFIX = "/dev/vfio/devices/vfio"
# The device plugin sets these to PCI addresses, which the host chooses.
VARIABLES = r"PCI_RESOURCE_NVIDIA_COM[A-Z0-9_]*=[a-fA-F0-9:.,-]*"


def container_gpus(context: PodContext, container: Place) -> int:
    """Return the number of GPUs in the container's limits; another resource of a device plugin becomes an error."""
    known = context.profile.gpu_resources
    resources = container.mapping("resources")
    for table in ("limits", "requests"):
        for name in resources.mapping(table).value:
            if _is_extended(str(name)) and name not in known:
                resources.mapping(table).at(str(name)).report(
                    catalogue.UNSUPPORTED_FIELD,
                    f"the resource {name} passes through a device that policies do not describe",
                    f"known are {', '.join(known)}; remove it, or leave this workload out of the confidential ones",
                )
    return sum(_count(resources.mapping("limits").at(name)) for name in known)


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
        number = Decimal(-1)
    if number < 0 or number != int(number):
        place.wrong("a whole number")
        return 0
    return int(number)
