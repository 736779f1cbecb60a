"""The kinds that the fake API server knows. Source: Kubernetes API reference 1.36."""

from typing import NamedTuple


class Resource(NamedTuple):
    """One kind: its API group ("" is core) and version, its plural, kind, and whether objects have a namespace."""

    group: str
    version: str
    plural: str
    kind: str
    is_namespaced: bool = True
    short: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """Return `group/version`."""
        return f"{self.group}/{self.version}" if self.group else self.version


RESOURCES = (
    Resource("", "v1", "namespaces", "Namespace", is_namespaced=False),
    Resource("", "v1", "configmaps", "ConfigMap", short=("cm",)),
    Resource("", "v1", "endpoints", "Endpoints"),
    Resource("", "v1", "events", "Event"),
    Resource("", "v1", "limitranges", "LimitRange"),
    Resource("", "v1", "nodes", "Node", is_namespaced=False),
    Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim"),
    Resource("", "v1", "pods", "Pod", short=("po",)),
    Resource("", "v1", "secrets", "Secret"),
    Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    Resource("", "v1", "services", "Service", short=("svc",)),
    Resource("apps", "v1", "daemonsets", "DaemonSet"),
    Resource("apps", "v1", "deployments", "Deployment", short=("deploy",)),
    Resource("apps", "v1", "replicasets", "ReplicaSet"),
    Resource("apps", "v1", "statefulsets", "StatefulSet", short=("sts",)),
    Resource(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        is_namespaced=False,
    ),
    Resource("batch", "v1", "cronjobs", "CronJob"),
    Resource("batch", "v1", "jobs", "Job"),
    Resource("networking.k8s.io", "v1", "ingresses", "Ingress"),
    Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy"),
    Resource("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", is_namespaced=False),
    Resource("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget"),
    Resource(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
        is_namespaced=False,
    ),
    Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", is_namespaced=False),
    Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding"),
    Resource("rbac.authorization.k8s.io", "v1", "roles", "Role"),
)

_BY_PLACE = {(each.group, each.version, each.plural): each for each in RESOURCES}


def find(group: str, version: str, plural: str) -> Resource | None:
    """Return the kind at a place of the API, None if there is none."""
    return _BY_PLACE.get((group, version, plural))


def kind(name: str) -> Resource:
    """Return a kind by its name."""
    return next(each for each in RESOURCES if each.kind == name)
