"""What the API server makes of a pod before a kubelet sees it, as far as containers are made of it.

Source: Kubernetes, plugin/pkg/admission/serviceaccount.
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
    """Return the pod with the token of its ServiceAccount, unless pod or account refuse it.

    A container that mounts something of its own at the token's path does not get it.
    """
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
