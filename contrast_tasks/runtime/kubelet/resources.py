"""Control groups of a pod and its containers. Source: Kubernetes, pkg/kubelet/cm and pkg/kubelet/qos."""

from decimal import Decimal

from contrast_tasks.decode import Json
from contrast_tasks.pods.quantities import rounded_up
from contrast_tasks.runtime.cri import Resources
from contrast_tasks.runtime.kubelet.quantities import (
    amount,
    is_sidecar,
    pod_amount,
    service_class,
)
from contrast_tasks.runtime.node import Node
from contrast_tasks.runtime.objects import child, entries, text

_PERIOD_US = 100_000
_MIN_QUOTA_US = 1_000
_MIN_SHARES, _MAX_SHARES = 2, 262_144
_SHARES_PER_CPU = 1_024
_OOM_GUARANTEED, _OOM_BEST_EFFORT = -997, 1_000
# Of pods without which the node or the cluster does not work.
_CRITICAL = "system-node-critical"


def sandbox_resources(pod: Json) -> Resources:
    """Return the resources of the whole pod; they become annotations of the sandbox."""
    return _resources(
        pod_amount(pod, "requests", "cpu"),
        pod_amount(pod, "limits", "cpu"),
        pod_amount(pod, "limits", "memory"),
    )


def container_resources(pod: Json, container: Json, node: Node) -> Resources:
    """Return the resources of one container; all of its processes end together when memory runs out."""
    spec = child(pod, "spec")
    # A limit of the pod as a whole is that of each container that has none.
    return _resources(
        amount(container, "requests", "cpu"),
        amount(container, "limits", "cpu") or amount(spec, "limits", "cpu"),
        amount(container, "limits", "memory") or amount(spec, "limits", "memory"),
    ).replace(oom_score_adj=_oom_score(pod, container, node), unified={"memory.oom.group": "1"})


def cgroup_parent(pod: Json, uid: str) -> str:
    """Return the control group of the pod, as the kubelet names it with the systemd driver."""
    kind = service_class(pod)
    prefix = "kubepods" if kind == "guaranteed" else f"kubepods-{kind}"
    within = "" if kind == "guaranteed" else f"/{prefix}.slice"
    return f"/kubepods.slice{within}/{prefix}-pod{uid.replace('-', '_')}.slice"


def _resources(request: Decimal | None, limit: Decimal | None, memory: Decimal | None) -> Resources:
    asked = limit if request is None else request
    shares = _milli(asked) * _SHARES_PER_CPU // 1000
    quota = _milli(limit) * _PERIOD_US // 1000
    return Resources(
        cpu_shares=min(max(shares, _MIN_SHARES), _MAX_SHARES),
        cpu_quota=max(quota, _MIN_QUOTA_US) if quota else 0,
        cpu_period=_PERIOD_US,
        memory_bytes=rounded_up(memory or Decimal(0)),
    )


def _milli(value: Decimal | None) -> int:
    return rounded_up((value or Decimal(0)) * 1000)


def _oom_score(pod: Json, container: Json, node: Node) -> int:
    spec = child(pod, "spec")
    kind = service_class(pod)
    if kind == "guaranteed" or text(spec, "priorityClassName") == _CRITICAL:
        return _OOM_GUARANTEED
    if kind == "besteffort":
        return _OOM_BEST_EFFORT
    score = _burstable_score(container, node)
    if is_sidecar(container):
        # It must not end before the containers that it serves.
        score = min([score, *(_burstable_score(c, node) for c in entries(spec, "containers"))])
    return min(max(score, 1000 + _OOM_GUARANTEED), _OOM_BEST_EFFORT - 1)


def _burstable_score(container: Json, node: Node) -> int:
    asked = rounded_up(amount(container, "requests", "memory") or Decimal(0))
    return 1000 - 1000 * asked // node.memory_bytes
