"""The table of workload kinds: objects that run pods."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class WorkloadKind(NamedTuple):
    """One kind of workload.

    group: of the API. template: path of the pod template, () if the object is one itself.
    is_rolled_out: whether `kubectl rollout` supports the kind. has_replicas: whether `spec.replicas` sets the number
    of pods.
    """

    group: str
    template: tuple[str, ...]
    is_rolled_out: bool = False
    has_replicas: bool = False


_TEMPLATE: Final = ("spec", "template")
# Source: Kubernetes API reference, workload resources.
WORKLOAD_KINDS: Final[Mapping[str, WorkloadKind]] = {
    "Pod": WorkloadKind("", ()),
    "ReplicationController": WorkloadKind("", _TEMPLATE, has_replicas=True),
    "Deployment": WorkloadKind("apps", _TEMPLATE, is_rolled_out=True, has_replicas=True),
    "ReplicaSet": WorkloadKind("apps", _TEMPLATE, has_replicas=True),
    "StatefulSet": WorkloadKind("apps", _TEMPLATE, is_rolled_out=True, has_replicas=True),
    "DaemonSet": WorkloadKind("apps", _TEMPLATE, is_rolled_out=True),
    "Job": WorkloadKind("batch", _TEMPLATE),
    "CronJob": WorkloadKind("batch", ("spec", "jobTemplate", *_TEMPLATE)),
}
