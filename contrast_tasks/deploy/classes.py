"""Whether a cluster has the runtime classes that pods name; a pod of another one is never started.

Source: docs/internals/generate.md 8.5; docs/internals/runtime.md 2.
"""

from collections.abc import Collection, Sequence

from contrast_tasks import catalogue
from contrast_tasks.deploy.cluster import Kubectl
from contrast_tasks.errors import ClusterError
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.kubectl import KubectlFailed
from contrast_tasks.platforms import is_confidential_class
from contrast_tasks.settings.model import Settings


def confidential_classes(objects: Sequence[Annotated]) -> frozenset[str]:
    """Return the runtime classes of the confidential pods of a deployment."""
    found = (workloads.runtime_class(item.obj) for item in objects if item.is_workload)
    return frozenset(name for name in found if is_confidential_class(name))


def absent_classes(
    settings: Settings, wanted: Collection[str], cluster: Kubectl
) -> tuple[Finding, ...]:
    """Return a finding for each class that the cluster lacks; raises ClusterError if it does not tell."""
    if not wanted:
        return ()
    present = cluster.runtime_classes()
    ours = sorted(name for name in present if is_confidential_class(name))
    there = f"there are {', '.join(ours)}" if ours else "there is none of its kind"
    where = settings.where("runtime.class" if settings.handler else "platform")
    return tuple(
        Finding(
            catalogue.RUNTIME_CLASS_ABSENT,
            where,
            f"the cluster has no runtime class {name}, so its pods would not start; {there}",
        )
        for name in sorted(set(wanted) - present)
    )


def refuse_absent_classes(
    settings: Settings, objects: Sequence[Annotated], cluster: Kubectl
) -> str:
    """Raise ClusterError if the cluster lacks a class; return why that could not be looked up, "" if it could."""
    try:
        found = absent_classes(settings, confidential_classes(objects), cluster)
    except KubectlFailed as err:
        if err.has_no_way:
            raise
        # Not everybody who may deploy may read objects of the whole cluster.
        return str(err)
    if found:
        raise ClusterError(
            "; ".join(finding.message for finding in found),
            hint=found[0].hint,
            where=found[0].where,
        )
    return ""
