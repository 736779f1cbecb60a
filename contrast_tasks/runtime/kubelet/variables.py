"""The variables that the kubelet sends for a container.

Source: Kubernetes, pkg/kubelet/kubelet_pods.go; docs/internals/reality.md 1.8 and 1.12.
"""

from contrast_tasks.decode import Json
from contrast_tasks.runtime.kubelet.downward import field_value, resource_value
from contrast_tasks.runtime.kubelet.expansion import expand
from contrast_tasks.runtime.kubelet.services import service_variables
from contrast_tasks.runtime.node import Surroundings
from contrast_tasks.runtime.objects import Namespace, child, entries, flag, text
from contrast_tasks.runtime.refusals import ContainerRefused

_KEYED = (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret"))
_WHOLE = (("configMapRef", "ConfigMap"), ("secretRef", "Secret"))


def container_variables(pod: Json, container: Json, around: Surroundings) -> dict[str, str]:
    """Return the variables in the order in which they are sent.

    The kubelet ranges over a map, so the order of the container's own variables is random; here they are sorted, and
    those of Services follow, which its own override. Raises ContainerRefused where a value is missing.
    """
    links = child(pod, "spec").get("enableServiceLinks")
    service = service_variables(
        around.namespace, around.node, links=links is None or links.value is None or links.flag()
    )
    own = _from_objects(container, around.namespace)
    known = dict(service)
    known |= own
    for entry in entries(container, "env"):
        value = _value(entry, known, pod=pod, container=container, around=around)
        if value is not None:
            name = text(entry, "name")
            own[name] = known[name] = value
    own = {**around.drawn.device_variables.get(text(container, "name"), {}), **own}
    rest = sorted(service.keys() - own.keys())
    return dict(sorted(own.items())) | {name: service[name] for name in rest}


def _from_objects(container: Json, namespace: Namespace) -> dict[str, str]:
    found = {}
    for source in entries(container, "envFrom"):
        prefix = text(source, "prefix")
        for member, kind in _WHOLE:
            reference = source.filled(member)
            if reference is None:
                continue
            for key, value in (_config(reference, kind, namespace) or {}).items():
                found[f"{prefix}{key}"] = _as_text(value)
    return found


def _value(
    entry: Json,
    known: dict[str, str],
    *,
    pod: Json,
    container: Json,
    around: Surroundings,
) -> str | None:
    """Return the value of one entry of `env`, None if it is optional and missing."""
    written = text(entry, "value")
    if written:
        return expand(written, known.get)
    source = child(entry, "valueFrom")
    for member, kind in _KEYED:
        reference = source.filled(member)
        if reference is not None:
            return _key(reference, kind, around.namespace)
    if source.filled("fieldRef"):
        return field_value(pod, text(child(source, "fieldRef"), "fieldPath"), around)
    if source.filled("resourceFieldRef"):
        return resource_value(pod, container, child(source, "resourceFieldRef"), around.node)
    return ""


def _key(reference: Json, kind: str, namespace: Namespace) -> str | None:
    data = _config(reference, kind, namespace)
    key = text(reference, "key")
    if data is not None and key in data:
        return _as_text(data[key])
    if data is None or flag(reference, "optional"):
        return None
    raise ContainerRefused(
        f"couldn't find key {key} in {kind} {namespace.name}/{text(reference, 'name')}",
        by="kubelet",
    )


def _config(reference: Json, kind: str, namespace: Namespace) -> dict[str, str | bytes] | None:
    """Return the entries of an object, None if it is optional and missing."""
    name = text(reference, "name")
    data = namespace.config(kind, name)
    if data is None and not flag(reference, "optional"):
        raise ContainerRefused(f'{kind.lower()} "{name}" not found', by="kubelet")
    return data


def _as_text(value: str | bytes) -> str:
    """Return the value of a variable; one that is not UTF-8 cannot be a string of a message."""
    if isinstance(value, str):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError as err:
        raise ContainerRefused(
            "grpc: error while marshaling: string field contains invalid UTF-8", by="kubelet"
        ) from err
