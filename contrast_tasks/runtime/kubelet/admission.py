"""What the API server makes of a pod before a kubelet sees it, as far as containers are made of it.

Source: Kubernetes, plugin/pkg/admission/serviceaccount and limitranger, SetDefaults_LimitRangeItem.
"""

from typing import Any, Final

from contrast_tasks.decode import Json
from contrast_tasks.runtime.kubelet.volumes import TOKEN_PATH
from contrast_tasks.runtime.node import Drawn
from contrast_tasks.runtime.objects import Namespace, child, entries, text

_NAMESPACE: Final = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
ROOT_CA: Final = "kube-root-ca.crt"
_TOKEN_SOURCES: Final = [
    {"serviceAccountToken": {"path": "token"}},
    {"configMap": {"name": ROOT_CA, "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {"downwardAPI": {"items": [_NAMESPACE]}},
]


def admitted(pod: Json, namespace: Namespace, drawn: Drawn) -> Json:
    """Return the pod with the resources that LimitRanges give, and the token of its ServiceAccount unless one refuses it.

    A container that mounts something of its own at the token's path does not get it.
    """
    for limit_range in namespace.limit_ranges():
        pod = _limited(pod, limit_range)
    spec = child(pod, "spec")
    asked = spec.get("automountServiceAccountToken")
    account = text(spec, "serviceAccountName") or text(spec, "serviceAccount", "default")
    if asked is None or asked.value is None:
        wanted = namespace.mounts_token(account)
    else:
        wanted = asked.flag()
    if not wanted:
        return pod
    volume = {"name": drawn.token_volume, "projected": {"sources": _TOKEN_SOURCES}}
    changed: dict[str, Any] = {
        **spec.value,
        "volumes": [*(each.value for each in entries(spec, "volumes")), volume],
    }
    for key in ("initContainers", "containers"):
        changed[key] = [_with_token(each, drawn.token_volume) for each in entries(spec, key)]
    return Json({**pod.value, "spec": changed})


def _with_token(container: Json, volume: str) -> Any:
    mounts = entries(container, "volumeMounts")
    if any(text(each, "mountPath") == TOKEN_PATH for each in mounts):
        return container.value
    token = {"name": volume, "mountPath": TOKEN_PATH, "readOnly": True}
    return {**container.value, "volumeMounts": [*(each.value for each in mounts), token]}


def _limited(pod: Json, limit_range: Json) -> Json:
    """Return the pod with the resources that its containers get of one LimitRange."""
    limits: dict[str, Any] = {}
    requests: dict[str, Any] = {}
    for item in entries(child(limit_range, "spec"), "limits"):
        if text(item, "type") == "Container":
            most = {**child(item, "max").value, **child(item, "default").value}
            limits |= most
            requests |= {**child(item, "min").value, **most, **child(item, "defaultRequest").value}
    if not limits and not requests:
        return pod
    spec = child(pod, "spec")
    changed: dict[str, Any] = {**spec.value}
    for key in ("initContainers", "containers"):
        changed[key] = [_with_resources(each, limits, requests) for each in entries(spec, key)]
    return Json({**pod.value, "spec": changed})


def _with_resources(container: Json, limits: dict[str, Any], requests: dict[str, Any]) -> Any:
    resources = child(container, "resources")
    own = child(resources, "limits").value
    # What a container may use it requests, unless it says otherwise; that was filled in before.
    asked = {**own, **child(resources, "requests").value}
    given = {"limits": {**limits, **own}, "requests": {**requests, **asked}}
    return {**container.value, "resources": {**resources.value, **given}}
