"""The pods of a deployment on a cluster, and why one is refused, pending or not ready, from the cluster's own objects.

Source: Kubernetes API reference, PodStatus and Event.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from contrast_tasks.decode import Json


@dataclass(frozen=True, slots=True)
class PodLine:
    """One pod, or the lack of any: `pod` is "" then. reason: why it is not ready, "" if it is or nothing is told."""

    workload: str
    pod: str
    phase: str
    is_ready: bool
    restarts: int
    reason: str


class Workload(NamedTuple):
    """A workload of a deployment: `[namespace/]Kind/name`, its object, and whether the cluster is known to lack it."""

    key: str
    obj: Mapping[str, Any]
    is_absent: bool = False

    @property
    def kind(self) -> str:
        """Return the kind."""
        return str(self.obj["kind"])

    @property
    def name(self) -> str:
        """Return the name, or the beginning of it."""
        metadata = self.obj["metadata"]
        return str(metadata.get("name") or metadata["generateName"])


def pod_lines(
    workloads: Sequence[Workload], pods: Sequence[Json], events: Sequence[Json]
) -> list[PodLine]:
    """Return a line for each pod of the workloads, all of one namespace, and one for each workload without pods."""
    lines: list[PodLine] = []
    for workload in workloads:
        own = [_line(workload.key, pod, events) for pod in pods_of(workload, pods)]
        phase = "not deployed" if workload.is_absent else "no pod"
        lines += own or [line_without_pods(workload, phase, _refusal(workload, events))]
    return lines


def line_without_pods(workload: Workload, phase: str, reason: str) -> PodLine:
    """Return the line of a workload of which no pod can be shown."""
    return PodLine(
        workload=workload.key, pod="", phase=phase, is_ready=False, restarts=0, reason=reason
    )


def pods_of(workload: Workload, pods: Sequence[Json]) -> list[Json]:
    """Return those of a namespace's pods that belong to a workload."""
    return [pod for pod in pods if _belongs(pod.value, workload)]


def _belongs(pod: Mapping[str, Any], workload: Workload) -> bool:
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    spec = workload.obj.get("spec") or {}
    match workload.kind:
        case "Pod":
            return _is_named(metadata.get("name"), workload)
        case "Job":
            return _is_named(
                labels.get("batch.kubernetes.io/job-name") or labels.get("job-name"), workload
            )
        case "CronJob":
            job = str(labels.get("batch.kubernetes.io/job-name") or labels.get("job-name") or "")
            return job.startswith(f"{workload.name}-")
        case "ReplicationController":
            selector = spec.get("selector") or {}
        case _:
            selector = (spec.get("selector") or {}).get("matchLabels") or {}
    return bool(selector) and selector.items() <= labels.items()


def _is_named(name: Any, workload: Workload) -> bool:
    is_beginning = not workload.obj["metadata"].get("name")
    return str(name or "").startswith(workload.name) if is_beginning else name == workload.name


def _line(key: str, pod: Json, events: Sequence[Json]) -> PodLine:
    status: Mapping[str, Any] = pod.value.get("status") or {}
    name = pod.at("metadata").at("name").text()
    conditions = {one.get("type"): one for one in status.get("conditions") or []}
    phase = str(status.get("phase") or "Pending")
    is_ready = conditions.get("Ready", {}).get("status") == "True" or phase == "Succeeded"
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    restarts = sum(int(one.get("restartCount") or 0) for one in containers)
    reason = "" if is_ready else next(_reasons(status, conditions, containers, name, events), "")
    return PodLine(key, name, phase, is_ready, restarts, reason)


def _reasons(
    status: Mapping[str, Any],
    conditions: Mapping[Any, Mapping[str, Any]],
    containers: Sequence[Mapping[str, Any]],
    name: str,
    events: Sequence[Json],
) -> Iterator[str]:
    """Yield what may be the reason, the most telling first."""
    for container in containers:
        for state in ("state", "lastState"):
            for word in ("waiting", "terminated"):
                found = (container.get(state) or {}).get(word) or {}
                is_plain = found.get("reason") in {
                    None,
                    "",
                    "PodInitializing",
                    "ContainerCreating",
                    "Completed",
                }
                if not is_plain:
                    yield _told(f"{container.get('name')}: {found['reason']}", found.get("message"))
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        yield _told(str(scheduled.get("reason") or "not scheduled"), scheduled.get("message"))
    if status.get("reason"):
        yield _told(str(status["reason"]), status.get("message"))
    # A pod of a runtime class that the node does not know, or whose volumes are not there, tells so by events only.
    yield from _warnings(events, lambda about: about.get("name") == name)


def _refusal(workload: Workload, events: Sequence[Json]) -> str:
    """Return why no pod was made: an event about the workload, or about the ReplicaSet or Job that it made."""

    def concerns(about: Mapping[str, Any]) -> bool:
        kind, name = about.get("kind"), str(about.get("name") or "")
        return (kind == workload.kind and _is_named(name, workload)) or (
            kind in {"ReplicaSet", "Job"} and name.startswith(f"{workload.name}-")
        )

    return next(_warnings(events, concerns), "")


def _warnings(events: Sequence[Json], concerns: Any) -> Iterator[str]:
    """Yield the warnings that concern an object, the newest first."""
    for event in reversed(events):
        found: Mapping[str, Any] = event.value
        if found.get("type") == "Warning" and concerns(found.get("involvedObject") or {}):
            yield _told(str(found.get("reason") or "Warning"), found.get("message"))


def _told(reason: str, message: Any) -> str:
    text = " ".join(str(message or "").split())
    told = f"{reason}: {text}" if text else reason
    return "".join(char if char.isprintable() else "?" for char in told)
