"""Which of the deployed workloads a person means."""

from collections.abc import Sequence
from typing import TypeVar

from contrast_tasks.deploy.cluster import Id, Target
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.pods.workload_names import hint_for, spellings, typed

Workload = TypeVar("Workload")
# Kinds without a namespace, of those that deployments usually have; the API server corrects the rest.
_CLUSTER_WIDE = frozenset(
    {
        "Namespace",
        "CustomResourceDefinition",
        "ClusterRole",
        "ClusterRoleBinding",
        "PersistentVolume",
        "PriorityClass",
        "RuntimeClass",
        "StorageClass",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    }
)


def select(
    names: Sequence[str], deployed: Sequence[tuple[str, str, Workload]]
) -> tuple[Workload, ...]:
    """Return the workloads with these names, each once, in any case of letters.

    deployed: key, as `Deployment/web`, a shorter name, and the workload. Raises ClusterError for an unknown name.
    """
    # By their places: an object of the deployment is no key.
    selected: dict[int, Workload] = {}
    for name in names:
        wanted = typed(name)
        matches = {
            index: workload
            for index, (key, short, workload) in enumerate(deployed)
            if wanted in spellings(key) or wanted == short.lower()
        }
        if not matches:
            keys = {key for key, _, _ in deployed}
            raise ClusterError(f"no workload {name} is deployed", hint=hint_for(name, keys))
        selected |= matches
    return tuple(selected.values())


def id_in(item: Annotated, place: Target) -> Id:
    """Return an object's place, with the namespace of objects that name none if it has one at all."""
    metadata = item.obj["metadata"]
    namespace = "" if item.kind in _CLUSTER_WIDE else metadata.get("namespace") or place.namespace
    return Id(str(item.obj["apiVersion"]), item.kind, str(namespace), item.name)
