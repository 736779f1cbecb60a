"""What containers request and may use, and what that makes of a pod.

Source: Kubernetes, pkg/apis/core/v1/helper/qos, component-helpers/resource.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal

from contrast_tasks.decode import Json
from contrast_tasks.pods.quantities import parse_quantity
from contrast_tasks.runtime.objects import child, entries, text

ServiceClass = Literal["guaranteed", "burstable", "besteffort"]
_COUNTED = ("cpu", "memory")


def containers_of(pod: Json) -> list[Json]:
    """Return all containers in the order in which they start."""
    spec = child(pod, "spec")
    return [*entries(spec, "initContainers"), *entries(spec, "containers")]


def is_sidecar(container: Json) -> bool:
    """Return whether an init container keeps running beside the main ones."""
    return text(container, "restartPolicy") == "Always"


def amount(holder: Json, kind: str, resource: str) -> Decimal | None:
    """Return what a container, or the pod as a whole, has under resources.limits or .requests; None if it is not set.

    A request that is not set is that of the limit.
    """
    for each in (kind, "limits") if kind == "requests" else (kind,):
        place = child(holder, "resources", each).get(resource)
        if place is not None and place.value is not None:
            return Decimal(parse_quantity(place.value))
    return None


def pod_amount(pod: Json, kind: str, resource: str) -> Decimal | None:
    """Return the sum over a pod, None if no container says anything.

    Init containers run one after the other, each beside the sidecars that were started before it.
    """
    spec = child(pod, "spec")
    whole = amount(spec, kind, resource)
    if whole is not None:
        return whole
    running: list[Decimal | None] = []
    peaks: list[Decimal | None] = []
    for container in entries(spec, "initContainers"):
        own = amount(container, kind, resource)
        if is_sidecar(container):
            running.append(own)
        else:
            peaks.append(_sum([*running, own]))
    main = [amount(container, kind, resource) for container in entries(spec, "containers")]
    known = [each for each in (_sum([*running, *main]), *peaks) if each is not None]
    return max(known, default=None)


def service_class(pod: Json) -> ServiceClass:
    """Return the quality of service; amounts of zero do not count."""
    spec = child(pod, "spec")
    holders = [spec] if spec.filled("resources") else containers_of(pod)
    limits = [[amount(each, "limits", name) for name in _COUNTED] for each in holders]
    requests = [[amount(each, "requests", name) for name in _COUNTED] for each in holders]
    if all(all(own) for own in limits) and limits == requests:
        return "guaranteed"
    return "burstable" if any(any(own) for own in (*limits, *requests)) else "besteffort"


def _sum(amounts: Iterable[Decimal | None]) -> Decimal | None:
    known = [each for each in amounts if each is not None]
    return sum(known, Decimal(0)) if known else None
