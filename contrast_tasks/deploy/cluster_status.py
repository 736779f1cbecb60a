"""What runs of a deployment on a cluster, and what somebody changed there, as far as the user may read it."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from contrast_tasks.decode import Json
from contrast_tasks.deploy.cluster import Id, Kubectl
from contrast_tasks.deploy.drift import drift, is_of_another_build, others
from contrast_tasks.deploy.pods_report import PodLine, Workload, line_without_pods, pod_lines
from contrast_tasks.deploy.select import id_in
from contrast_tasks.errors import ClusterError
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.kubectl import KubectlFailed
from contrast_tasks.progress import Watch, unseen

Say = Callable[[str], None]

_EVENTS_UNKNOWN = "events may not be listed, so reasons may be missing"
_DRIFT_UNKNOWN = "whether somebody changed workloads may not be looked up"


class Status(NamedTuple):
    """The pods of the deployment, and for each workload what was changed on the cluster.

    outdated: a line for each workload that an earlier deploy left, and this build would change.
    behind: what was not rolled out in time. untold: what is missing here, because the user may not read it.
    """

    lines: tuple[PodLine, ...]
    drift: tuple[str, ...]
    behind: str
    untold: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()


def status(
    objects: Sequence[Annotated],
    cluster: Kubectl,
    *,
    say: Say,
    wait_s: float,
    watch: Watch = unseen,
) -> Status:
    """Return the pods of all workloads, in whatever namespace; wait_s: how long to wait until all are rolled out.

    watch: is told of those that are waited for. Raises ClusterError, also if the user may list the pods of no namespace.
    """
    place = cluster.target()
    say(f"in {place.told}")
    deployed = {id_in(item, place): item for item in objects if item.is_workload}
    behind = ""
    if wait_s:
        try:
            cluster.wait(list(deployed), timeout_s=wait_s, watch=watch)
        except ClusterError as err:
            behind = str(err)
    lines: list[PodLine] = []
    untold: list[str] = []
    denials: list[KubectlFailed] = []
    live = _live(deployed, cluster, untold)
    namespaces = sorted({each.namespace for each in deployed})
    for namespace in namespaces:
        here = [
            Workload(each.key, item.obj, is_absent=each in live.absent)
            for each, item in deployed.items()
            if each.namespace == namespace
        ]
        try:
            pods = cluster.all_of("pods", namespace)
        except KubectlFailed as err:
            denials.append(_denial(err))
            lines += [line_without_pods(each, "unknown", _needed(err)) for each in here]
            continue
        found = pod_lines(here, pods, ())
        if not all(line.is_ready for line in found):
            try:
                found = pod_lines(here, pods, cluster.all_of("events", namespace))
            except KubectlFailed as err:
                untold.append(f"{_EVENTS_UNKNOWN}: {_needed(_denial(err))}")
        lines += found
    if denials and len(denials) == len(namespaces):
        raise denials[0]
    return Status(tuple(lines), live.drift.changed, behind, tuple(untold), live.drift.outdated)


class Differences(NamedTuple):
    """Lines for how workloads differ from the build. changed: by others on the cluster; outdated: not deployed yet."""

    changed: tuple[str, ...] = ()
    outdated: tuple[str, ...] = ()


class _Live(NamedTuple):
    """What of the workloads is not on the cluster, and how the others differ there."""

    absent: frozenset[Id] = frozenset()
    drift: Differences = Differences()


def _live(deployed: Mapping[Id, Annotated], cluster: Kubectl, untold: list[str]) -> _Live:
    """Return what is known; untold: gets a line if the user may not know."""
    named = {each: item for each, item in deployed.items() if not item.has_generated_name}
    try:
        found = cluster.get(list(named), with_owners=True)
    except KubectlFailed as err:
        untold.append(f"{_DRIFT_UNKNOWN}: {_needed(_denial(err))}")
        return _Live()
    return _Live(frozenset(named.keys() - found.keys()), _drift(named, found))


def _denial(error: KubectlFailed) -> KubectlFailed:
    """Return the error if it says what the user may not do. Raises it otherwise."""
    if not error.denied:
        raise error
    return error


def _needed(denial: KubectlFailed) -> str:
    return f"it takes the verb {', '.join(denial.denied)}"


def drift_of(objects: Sequence[Annotated], cluster: Kubectl) -> Differences:
    """Return how the pods of workloads on the cluster differ from the build."""
    place = cluster.target()
    deployed = {
        id_in(item, place): item
        for item in objects
        if item.is_workload and not item.has_generated_name
    }
    return _drift(deployed, cluster.get(list(deployed), with_owners=True))


def _drift(deployed: Mapping[Id, Annotated], live: Mapping[Id, Json]) -> Differences:
    changed: list[str] = []
    outdated: list[str] = []
    for each, item in live.items():
        ours = deployed[each].obj
        if not is_of_another_build(ours, item.value):
            changed += [f"{each.key}: {line}" for line in drift(ours, item.value)]
            continue
        # Which fields differ says nothing of what others changed then.
        outdated.append(f"{each.key}: what is deployed is of another build")
        changed += [f"{each.key}: {name} set fields of its pods" for name in others(item.value)]
    return Differences(tuple(changed), tuple(outdated))
