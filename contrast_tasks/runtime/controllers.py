"""The pod that a controller of Kubernetes makes of a workload: its name, and what it adds to the template.

Source: Kubernetes, pkg/controller and apiserver/pkg/storage/names; docs/internals/policy.md 6.2.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contrast_tasks.decode import Json
from contrast_tasks.pods.workload_kinds import WORKLOAD_KINDS
from contrast_tasks.runtime.objects import child, entries, strings, text

# What a cluster would draw. A generated name is cut to 63 characters, of which the last five are drawn.
_SUFFIX: Final = "x2k9w"
_HASH: Final = "6c9d7f8b54"
_MINUTES: Final = "29408465"  # since 1970, of the time for which a CronJob starts a Job
_PREFIX: Final = 58
_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_INDEX_VARIABLE: Final = "JOB_COMPLETION_INDEX"


def pod_of(workload: Mapping[str, Any], *, index: int = 0, suffix: str = _SUFFIX) -> dict[str, Any]:
    """Return one pod of a workload, by default the first, with a name and a namespace.

    workload: a Pod, or an object with a pod template. index: among the pods of a StatefulSet or indexed Job. suffix: what the
    cluster draws for a generated name. Raises DecodeError for a member of another type than Kubernetes has.
    """
    place = Json(workload)
    kind, metadata = text(place, "kind"), child(place, "metadata")
    template = child(place, *WORKLOAD_KINDS[kind].template)
    own = child(template, "metadata")
    owner = text(metadata, "name") or _generated(text(metadata, "generateName"), suffix)
    name = _name(kind, owner, index, suffix)
    labels = {**strings(own, "labels"), **_labels(kind, owner, name, index)}
    annotations = strings(own, "annotations")
    spec = dict(child(template, "spec").value)
    if kind == "StatefulSet":
        spec = _of_set(spec, child(place, "spec"), name)
    elif _is_indexed(place, kind):
        annotations[_INDEX] = str(index)
        spec = _indexed(spec, owner, index)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": text(metadata, "namespace", "default"),
            "labels": labels,
            "annotations": annotations,
        },
        "spec": spec,
    }


def with_addresses(services: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Return Services with the addresses that a cluster gives those that ask for none in particular."""
    found = []
    for number, service in enumerate(services):
        spec = child(Json(service), "spec").value
        given = {"clusterIP": f"10.96.{1 + number // 250}.{1 + number % 250}"}
        is_external = spec.get("type") == "ExternalName"
        found.append({**service, "spec": {**({} if is_external else given), **spec}})
    return tuple(found)


def _name(kind: str, name: str, index: int, suffix: str) -> str:
    match kind:
        case "Pod":
            return name
        case "StatefulSet":
            return f"{name}-{index}"
        case "Deployment":
            return _generated(f"{name}-{_HASH}-", suffix)
        case "CronJob":
            return _generated(f"{name}-{_MINUTES}-", suffix)
    return _generated(f"{name}-", suffix)


def _generated(prefix: str, suffix: str) -> str:
    return prefix[:_PREFIX] + suffix


def _labels(kind: str, owner: str, pod: str, index: int) -> dict[str, str]:
    match kind:
        case "Deployment":
            return {"pod-template-hash": _HASH}
        case "StatefulSet":
            return {
                "statefulset.kubernetes.io/pod-name": pod,
                "apps.kubernetes.io/pod-index": str(index),
                "controller-revision-hash": f"{owner}-{_HASH}",
            }
        case "DaemonSet":
            return {"controller-revision-hash": _HASH}
        case "Job" | "CronJob":
            return {"batch.kubernetes.io/job-name": owner, "job-name": owner}
    return {}


def _of_set(spec: dict[str, Any], owner: Json, name: str) -> dict[str, Any]:
    """Return the spec of a StatefulSet's pod: with host name, domain, and a volume for each claim."""
    claims = {
        text(child(each, "metadata"), "name") for each in entries(owner, "volumeClaimTemplates")
    }
    kept = [each for each in spec.get("volumes") or () if each.get("name") not in claims]
    volumes = [
        {"name": each, "persistentVolumeClaim": {"claimName": f"{each}-{name}"}}
        for each in sorted(claims)
    ]
    service = text(owner, "serviceName")
    return {
        **spec,
        "hostname": name,
        **({"subdomain": service} if service else {}),
        **({"volumes": [*kept, *volumes]} if kept or volumes else {}),
    }


def _is_indexed(workload: Json, kind: str) -> bool:
    spec = child(workload, "spec")
    job = child(spec, "jobTemplate", "spec") if kind == "CronJob" else spec
    return kind in {"Job", "CronJob"} and text(job, "completionMode") == "Indexed"


def _indexed(spec: dict[str, Any], job: str, index: int) -> dict[str, Any]:
    """Return the spec of a pod of an indexed Job, whose containers are told their index."""
    reference = {"fieldPath": f"metadata.annotations['{_INDEX}']"}
    variable = {"name": _INDEX_VARIABLE, "valueFrom": {"fieldRef": reference}}

    def told(container: dict[str, Any]) -> dict[str, Any]:
        given = container.get("env") or []
        known = any(each.get("name") == _INDEX_VARIABLE for each in given)
        return container if known else {**container, "env": [*given, variable]}

    changed = {
        key: [told(each) for each in spec[key]]
        for key in ("initContainers", "containers")
        if spec.get(key)
    }
    return {**spec, "hostname": spec.get("hostname") or f"{job}-{index}", **changed}
