"""Values of the downward API in variables. Source: Kubernetes, pkg/fieldpath and pkg/api/v1/resource."""

import re
from decimal import Decimal

from contrast_tasks.decode import Json
from contrast_tasks.pods.quantities import parse_quantity, rounded_up
from contrast_tasks.runtime.kubelet.quantities import amount, containers_of
from contrast_tasks.runtime.node import Node, Surroundings
from contrast_tasks.runtime.objects import child, strings, text
from contrast_tasks.runtime.refusals import ContainerRefused

_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")


def field_value(pod: Json, path: str, around: Surroundings) -> str:
    """Return the value of a fieldRef; a label or annotation that the pod lacks is empty."""
    _, node, drawn = around
    metadata, spec = child(pod, "metadata"), child(pod, "spec")
    match = _KEYED.fullmatch(path)
    if match:
        return strings(metadata, match[1]).get(match[2], "")
    known = {
        "metadata.name": text(metadata, "name"),
        "metadata.namespace": text(metadata, "namespace", "default"),
        "metadata.uid": drawn.uid,
        "spec.nodeName": node.name,
        "spec.serviceAccountName": text(spec, "serviceAccountName", "default"),
        "status.hostIP": node.address,
        "status.hostIPs": node.address,
        "status.podIP": drawn.addresses[0],
        "status.podIPs": ",".join(drawn.addresses),
    }
    if path not in known:
        raise ContainerRefused(f"unsupported fieldPath: {path}", by="kubelet")
    return known[path]


def resource_value(pod: Json, container: Json, reference: Json, node: Node) -> str:
    """Return the value of a resourceFieldRef in units of its divisor, rounded up.

    A limit that is not set, or zero, is what the node has, a request that is not set is 0.
    """
    other = text(reference, "containerName")
    if other:
        container = next(c for c in containers_of(pod) if text(c, "name") == other)
    kind, _, resource = text(reference, "resource").partition(".")
    found = amount(container, kind, resource)
    if found is None or (kind == "limits" and not found):
        whole = {"cpu": node.cpus, "memory": node.memory_bytes}
        found = Decimal(whole.get(resource, 0) if kind == "limits" else 0)
    divisor = reference.filled("divisor")
    unit = parse_quantity(divisor.value) if divisor else Decimal(0)
    return str(rounded_up(found / (unit or Decimal(1))))
