"""What the LimitRanges of a namespace give containers that ask for nothing, as the API server does when a pod is created.

The objects that are deployed stay as they are: what is looked at here is the pod that comes of them.
Source: Kubernetes, plugin/pkg/admission/limitranger and SetDefaults_LimitRangeItem in pkg/apis/core/v1.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import nodes, workloads
from contrast_tasks.pods.quantities import QuantityError, parse_quantity
from contrast_tasks.pointers import Path
from contrast_tasks.records import Record

_KINDS = ("initContainers", "containers")
_TABLES = ("limits", "requests")
# Nobody asked for what these advise about, so nobody can follow them.
_UNASKED = frozenset({catalogue.MEMORY_LIMIT_IGNORED, catalogue.MEMORY_REQUEST})


class _Bound(Record, kw_only=False):
    """The least or the most of a resource that a container may have; owner: name of the LimitRange."""

    resource: str
    value: Any
    word: str
    owner: str

    def is_broken_by(self, value: Any) -> bool:
        """Return whether an amount lies outside; malformed ones are reported elsewhere."""
        try:
            found, allowed = parse_quantity(value), parse_quantity(self.value)
        except QuantityError:
            return False
        return found < allowed if self.word == "least" else found > allowed


class LimitRanges:
    """The LimitRanges of one namespace; where two give one resource, the first one counts."""

    def __init__(self, objects: Iterable[Mapping[str, Any]] = ()) -> None:
        self._given: dict[str, dict[str, Any]] = {"limits": {}, "requests": {}}
        self._names: dict[tuple[str, str], str] = {}
        self._bounds: list[_Bound] = []
        for obj in objects:
            name = str(workloads.mapping_at(obj, "metadata").get("name"))
            for _, item in workloads.mappings_at(workloads.mapping_at(obj, "spec"), "limits"):
                if item.get("type") == "Container":
                    self._bounds += _bounds(item, name)
                    for table, resource, value in _defaults(item):
                        self._given[table].setdefault(resource, value)
                        self._names.setdefault((table, resource), name)

    def gives(self, table: str, resource: str) -> bool:
        """Return whether containers without a limit (`limits`) or request (`requests`) get one."""
        return resource in self._given[table]

    def admitted(self, obj: dict[str, Any]) -> dict[str, Any]:
        """Return a workload with the resources that its pods get; the same object if nothing is given."""
        if not any(self._given.values()):
            return obj
        obj = nodes.copied(obj)
        for kind in _KINDS:
            for _, container in workloads.mappings_at(workloads.pod_spec(obj), kind):
                container["resources"] = self._resources(container)
        return obj

    def named(self, findings: Iterable[Finding], obj: Mapping[str, Any]) -> Iterator[Finding]:
        """Yield findings on the admitted workload; those on a resource that `obj` itself lacks name the LimitRange."""
        for finding in findings:
            *path, resource = finding.where.pointer.rpartition("/resources/")[2].split("/")
            name = self._names.get((path[0] if path else "", resource))
            if name is None or _has(obj, finding.where.pointer):
                yield finding
            elif finding.entry not in _UNASKED:
                message = f"{finding.message}; it comes from the LimitRange {name} of the namespace"
                hint = f"change the LimitRange, or write resources.{path[0]}.{resource} of the container"
                yield finding.replace(message=message, hint=hint)

    def violations(self, obj: dict[str, Any]) -> Iterator[tuple[Path, str]]:
        """Yield path and message of each amount in a workload, as its pods get it, that the API server refuses."""
        if not self._bounds:
            return
        seen = self.admitted(obj)
        for kind, bound, table in product(_KINDS, self._bounds, _TABLES):
            for number, container in workloads.mappings_at(workloads.pod_spec(seen), kind):
                amounts = workloads.mapping_at(workloads.mapping_at(container, "resources"), table)
                value = amounts.get(bound.resource)
                if value is None or not bound.is_broken_by(value):
                    continue
                path = (*workloads.spec_path(obj), kind, number, "resources", table, bound.resource)
                message = (
                    f"container {container.get('name')} has the {bound.resource} {table[:-1]} {value}, expected at"
                    f" {bound.word} {bound.value}: so says the LimitRange {bound.owner} of the namespace"
                )
                yield path, message

    def _resources(self, container: Mapping[str, Any]) -> dict[str, Any]:
        own = workloads.mapping_at(container, "resources")
        limits, requests = _set_in(own, "limits"), _set_in(own, "requests")
        # A limit of its own is the container's request too.
        asked = {
            name: value for name, value in self._given["requests"].items() if name not in limits
        }
        return {
            **own,
            "limits": {**self._given["limits"], **limits},
            "requests": {**asked, **requests},
        }


def _defaults(item: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """Yield (table, resource, value) of one item: the most is the default limit, the limit the default request."""
    limits = {**_set_in(item, "max"), **_set_in(item, "default")}
    requests = {**_set_in(item, "min"), **limits, **_set_in(item, "defaultRequest")}
    yield from (("limits", name, value) for name, value in limits.items())
    yield from (("requests", name, value) for name, value in requests.items())


def _bounds(item: Mapping[str, Any], owner: str) -> Iterator[_Bound]:
    for key, word in (("min", "least"), ("max", "most")):
        for resource, value in _set_in(item, key).items():
            yield _Bound(str(resource), value, word, owner)


def _set_in(obj: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {
        name: value for name, value in workloads.mapping_at(obj, key).items() if value is not None
    }


def _has(obj: Mapping[str, Any], pointer: str) -> bool:
    found: Any = obj
    for step in pointer.split("/")[1:]:
        if isinstance(found, list) and step.isdecimal() and int(step) < len(found):
            found = found[int(step)]
        else:
            found = found.get(step) if isinstance(found, dict) else None
    return found is not None


NO_RANGES = LimitRanges()
