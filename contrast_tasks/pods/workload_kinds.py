"""The table of workload kinds: objects that run pods."""

from collections.abc import Mapping
from typing import Final, NamedTuple


class WorkloadKind(NamedTuple):
    """One kind of workload.

    group: of the API. short: how kubectl abbreviates the kind. template: path of the pod template, () if the object is one
    itself.
    is_rolled_out: whether `kubectl rollout` supports the kind. has_replicas: whether `spec.replicas` sets the number
    of pods.
    """

    group: str
    short: str
    template: tuple[str, ...]
    is_rolled_out: bool = False
    has_replicas: bool = False


_TEMPLATE: Final = ("spec", "template")
# Source: Kubernetes API reference, workload resources; abbreviations as `kubectl api-resources` lists them.
WORKLOAD_KINDS: Final[Mapping[str, WorkloadKind]] = {
    "Pod": WorkloadKind("", "po", ()),
    "ReplicationController": WorkloadKind("", "rc", _TEMPLATE, has_replicas=True),
    "Deployment": WorkloadKind("apps", "deploy", _TEMPLATE, is_rolled_out=True, has_replicas=True),
    "ReplicaSet": WorkloadKind("apps", "rs", _TEMPLATE, has_replicas=True),
    "StatefulSet": WorkloadKind("apps", "sts", _TEMPLATE, is_rolled_out=True, has_replicas=True),
    "DaemonSet": WorkloadKind("apps", "ds", _TEMPLATE, is_rolled_out=True),
    "Job": WorkloadKind("batch", "job", _TEMPLATE),
    "CronJob": WorkloadKind("batch", "cj", ("spec", "jobTemplate", *_TEMPLATE)),
}
