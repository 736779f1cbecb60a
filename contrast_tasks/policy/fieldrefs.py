"""Values of the downward API in variables: fieldRef and resourceFieldRef (docs/internals/policy.md 4.3)."""

import re
from decimal import Decimal

from contrast_tasks import catalogue
from contrast_tasks.pods.quantities import QuantityError, parse_quantity, rounded_up
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.values import (
    ADDRESS,
    ADDRESSES,
    NODE_NAME,
    NUMBER,
    POD_NAME,
    POD_NAMESPACE,
    POD_UID,
    Parts,
)

_FIXED_PATHS: dict[str, Parts] = {
    "metadata.name": (POD_NAME,),
    "metadata.uid": (POD_UID,),
    "spec.nodeName": (NODE_NAME,),
    "status.hostIP": (ADDRESS,),
    "status.hostIPs": (ADDRESSES,),
    "status.podIP": (ADDRESS,),
    "status.podIPs": (ADDRESSES,),
}
# Resources of which a container without a limit may use all that the node has.
_OF_NODE = frozenset({"cpu", "memory", "ephemeral-storage"})
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")
# Labels that controllers add to their pods; an indexed Job also adds its label as an annotation.
_STATEFUL_SET_LABELS: dict[str, Parts] = {
    "statefulset.kubernetes.io/pod-name": (POD_NAME,),
    "apps.kubernetes.io/pod-index": (NUMBER,),
}
_JOB_INDEX = "batch.kubernetes.io/job-completion-index"


def field_value(context: PodContext, reference: Place) -> Parts:
    """Return the value of a fieldRef; an unknown path or label becomes an error."""
    path = reference.text("fieldPath")
    if path in _FIXED_PATHS:
        return _FIXED_PATHS[path]
    if path == "metadata.namespace":
        return (context.given.owner.namespace or POD_NAMESPACE,)
    if path == "spec.serviceAccountName":
        return (context.service_account,)
    match = _KEYED.fullmatch(path)
    if match is not None:
        return _keyed_value(context, reference, *match.groups())
    reference.at("fieldPath").report(
        catalogue.FIELD_PATH,
        f"fieldPath {path!r} is unknown",
        f"known are {', '.join(sorted(_FIXED_PATHS))}, metadata.namespace, "
        "spec.serviceAccountName, metadata.labels['<key>'] and metadata.annotations['<key>']",
    )
    return ()


def _keyed_value(context: PodContext, reference: Place, table: str, key: str) -> Parts:
    values = context.metadata.mapping(table)
    if values.has(key):
        text = values.text(key)
        return (text,) if text else ()
    if (
        table == "labels"
        and context.given.owner.kind == "StatefulSet"
        and key in _STATEFUL_SET_LABELS
    ):
        return _STATEFUL_SET_LABELS[key]
    if context.given.indexed_job and key == _JOB_INDEX:
        return (NUMBER,)
    reference.at("fieldPath").report(
        catalogue.FIELD_PATH,
        f"the pod template has no {table[:-1]} {key!r}, so its value would be the host's choice",
        f"add it to the template's metadata.{table}",
    )
    return ()


def resource_value(context: PodContext, container: Place, reference: Place) -> Parts:
    """Return the value of a resourceFieldRef from requests, limits and divisor.

    A limit that is not set, or zero, is what the node has, so any number; a request that is not set is the limit, or else 0.
    Source: Kubernetes, pkg/api/v1/resource, MergeContainerResourceLimits.
    """
    owner = _named_container(context, container, reference)
    if owner is None:
        return ()
    table, _, resource = reference.text("resource").partition(".")
    if table not in {"requests", "limits"} or not resource:
        reference.at("resource").report(
            catalogue.FIELD_PATH,
            f"resource {reference.text('resource')!r} is unknown",
            "write limits.<resource> or requests.<resource>",
        )
        return ()
    divisor = reference.at("divisor")
    unit = 1 if divisor.value in (None, "0", 0) else _quantity(divisor)
    if not unit:
        return ()
    resources = owner.mapping("resources")
    for name in (table, "limits"):
        place = resources.mapping(name).at(resource)
        if place.value is not None:
            value = _quantity(place)
            if value is None:
                return ()
            if value or table == "requests":
                return (str(rounded_up(Decimal(value) / unit)),)
    is_of_node = table == "limits" and resource in _OF_NODE
    return (NUMBER,) if is_of_node else ("0",)


def _quantity(place: Place) -> int | Decimal | None:
    try:
        return parse_quantity(place.value)
    except QuantityError:
        place.wrong("a quantity")
        return None


def _named_container(context: PodContext, container: Place, reference: Place) -> Place | None:
    name = reference.text("containerName")
    if not name:
        return container
    for each in context.containers:
        if each.text("name") == name:
            return each
    reference.at("containerName").report(catalogue.FIELD_PATH, f"the pod has no container {name!r}")
    return None
