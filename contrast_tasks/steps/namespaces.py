"""What workloads get from objects of their namespace without naming them: resources of LimitRanges, variables of Services."""

from collections.abc import Iterable, Mapping
from functools import cached_property

from contrast_tasks.pods.service_links import is_link, link_variables
from contrast_tasks.steps.index import LIMIT_RANGE, Index, Service, Workload

Use = tuple[str, str, str]
"""Kind, namespace and name of an object."""


class Namespaces:
    """The objects of an index by namespace; none written is `default`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._services: dict[str, dict[str, str]] = {}

    def uses(self, workload: Workload) -> tuple[Use, ...]:
        """Return what a workload takes values from: the objects that it names, and the LimitRanges of its namespace."""
        ranges = self.ranges(workload)
        return (*workload.uses, *ranges) if ranges else workload.uses

    def ranges(self, workload: Workload) -> tuple[Use, ...]:
        """Return the LimitRanges of a workload's namespace, in the order of their names."""
        return self._ranges.get(workload.namespace or "default", ())

    def services(self, workload: Workload, variables: Iterable[str]) -> Mapping[str, str]:
        """Return name and place of the Service that sets a variable in the workload's pods, for those that one sets."""
        links = [name for name in variables if is_link(name)]
        # There may be a thousand Services, and hardly any image has such a variable.
        known = self._links(workload.namespace or "default") if links else {}
        return {name: known[name] for name in links if name in known}

    def _links(self, namespace: str) -> Mapping[str, str]:
        known = self._services.get(namespace)
        if known is None:
            known = self._services[namespace] = {}
            for service in self._services_in.get(namespace, ()):
                text = f"{service.name} at {service.place},"
                for variable in link_variables(service.name, service.ports):
                    known.setdefault(variable, text)
        return known

    @cached_property
    def _ranges(self) -> Mapping[str, tuple[Use, ...]]:
        found: dict[str, tuple[Use, ...]] = {}
        for use in sorted(self._index.configs):
            if use[0] == LIMIT_RANGE:
                found[use[1]] = (*found.get(use[1], ()), use)
        return found

    @cached_property
    def _services_in(self) -> Mapping[str, list[Service]]:
        found: dict[str, list[Service]] = {}
        for service in self._index.services:
            found.setdefault(service.namespace, []).append(service)
        return found
