"""Find the workload whose policy denied something, from nothing but what was denied."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import UsageError, did_you_mean
from contrast_tasks.policy.agent_log import find_denials
from contrast_tasks.policy.text import parse_policy
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.project import Project

# What may be the name of a pod, in an event or in an annotation.
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")
# Labels of denials that name no container of the pod.
_NOBODY = {"-", "?", "pause", ""}
_SHOWN_AT_MOST = 5
_CRI = "io.kubernetes.cri."

Generated = tuple[Workload, dict[str, Any]]
"""A workload, and the data block of its generated policy."""


class SeveralWorkloadsError(UsageError):
    """A denial may be of several workloads; keys: theirs, as text."""

    def __init__(self, keys: Sequence[str]) -> None:
        more = len(keys) - _SHOWN_AT_MOST
        self.keys = ", ".join(keys[:_SHOWN_AT_MOST]) + (f" and {more} more" if more > 0 else "")
        super().__init__(
            f"the denial may be of {len(keys)} workloads: {self.keys}",
            hint=f"name the one, as in '--policy {keys[0]}', or give the whole event with the pod's name",
        )


class Traces(NamedTuple):
    """What a text or a log tells of a pod: names of its containers, and words that may be its own name."""

    containers: frozenset[str]
    words: frozenset[str]


def traces_of_text(text: str) -> Traces:
    """Return the traces in a text with denials."""
    labels = {denial.container for denial in find_denials(text)}
    return Traces(frozenset(labels - _NOBODY), frozenset(_WORD.findall(text)))


def traces_of_requests(requests: Iterable[Request]) -> Traces:
    """Return the traces in the requests of an agent's log."""
    containers, words = set(), set()
    for request in requests:
        oci = request.input.get("OCI")
        annotations = oci.get("Annotations") if isinstance(oci, Mapping) else None
        if isinstance(annotations, Mapping):
            containers.add(str(annotations.get(f"{_CRI}container-name", "")))
            words.add(str(annotations.get(f"{_CRI}sandbox-name", "")))
    return Traces(frozenset(containers - _NOBODY), frozenset(words))


def find_workload(project: Project, traces: Traces) -> Workload:
    """Return the workload with these containers; where several have them, the one whose pods have such a name.

    One container may be unknown to its policy, and be the reason of the denial: then the pod's name decides, or the others do.
    Raises UsageError if there is none, SeveralWorkloadsError if there is still more than one.
    """
    blocks = list(_generated(project, traces.containers)) or _with_some(project, traces)
    if not blocks:
        raise _nothing(project, traces.containers)
    found = _named(blocks, traces) or [workload for workload, _ in blocks]
    if len(found) == 1:
        return found[0]
    raise SeveralWorkloadsError(sorted(workload.key for workload in found))


def _named(blocks: Iterable[Generated], traces: Traces) -> list[Workload]:
    return [
        workload
        for workload, block in blocks
        if any(re.fullmatch(block["pod"]["name_re"], word) for word in traces.words)
    ]


def _with_some(project: Project, traces: Traces) -> list[Generated]:
    """Return the workloads whose pods have such a name, else those with the most of the containers, if any."""
    blocks = list(_generated(project, frozenset()))
    named = _named(blocks, traces)
    if named:
        return [each for each in blocks if each[0] in named]
    common = [
        len(traces.containers & {one["name"] for one in block["containers"]}) for _, block in blocks
    ]
    most = max(common, default=0)
    return [each for each, number in zip(blocks, common, strict=True) if number == most > 0]


def _generated(project: Project, containers: frozenset[str]) -> Iterator[Generated]:
    """Yield the workloads with a generated policy that has all of the containers, and the data blocks of the policies."""
    for workload in project.index.workloads.values():
        if not project.is_confidential(workload):
            continue
        try:
            policy = Path(project.root, project.paths.policy(workload.id)).read_bytes()
        except OSError:
            continue
        # Parsing takes long where there are many.
        if all(name.encode() in policy for name in containers):
            block = parse_policy(policy)
            if containers <= {each["name"] for each in block["containers"]}:
                yield workload, block


def _nothing(project: Project, containers: frozenset[str]) -> UsageError:
    known = {
        each["name"]
        for _, block in _generated(project, frozenset())
        for each in block["containers"]
    }
    if not known:
        return UsageError("no workload has a policy yet", hint="run 'contrast-tasks generate'")
    missing = sorted(containers - known) or sorted(containers)
    return UsageError(
        f"no generated policy has a container {', '.join(map(repr, missing))}",
        hint=did_you_mean(missing[0], sorted(known))
        or "name the workload or the policy file with --policy",
    )
