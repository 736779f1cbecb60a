"""The catalogue of checks over Kubernetes objects; all run before anything is pulled, none stops at the first.

`check_workload` looks at one workload, `check_deployment` at the index of all files together.
Source: docs/internals/generate.md 6.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.annotations import INGRESS
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.kube.check_annotations import (
    check_annotations,
    check_confidential_role,
    check_runtime_class,
)
from contrast_tasks.kube.check_containers import (
    check_cpu,
    check_identity,
    check_images,
    check_memory,
    is_pinned,
)
from contrast_tasks.kube.check_structure import check_structure
from contrast_tasks.kube.check_volumes import check_secure_pv, check_volumes
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.index import ConfigUse, DocIndex, FileIndex, duplicates
from contrast_tasks.kube.subject import Subject
from contrast_tasks.kube.workloads import is_confidential_class
from contrast_tasks.platforms import Platform

# Namespace, key and value.
_Label = tuple[str, str, str]

__all__ = [
    "check_annotations",
    "check_deployment",
    "check_images",
    "check_structure",
    "check_workload",
    "duplicates",
    "is_pinned",
]


def check_workload(
    document: Document, obj: Mapping[str, Any] | None = None, *, platform: Platform
) -> list[Finding]:
    """Return everything to say about a confidential workload whose structure and annotations are checked already.

    obj: the object with settings applied, whose lists are those of the document; default is the document's own.
    """
    subject = Subject(document, document.obj if obj is None else obj)
    check_runtime_class(subject)
    check_confidential_role(subject)
    check_identity(subject)
    check_memory(subject)
    if platform.pulls_in_guest:
        check_cpu(subject)
    check_volumes(subject)
    check_secure_pv(subject)
    return subject.findings


def check_deployment(
    indexes: Sequence[FileIndex],
    *,
    is_confidential: Callable[[DocIndex], bool] | None = None,
    has_ingress: Callable[[DocIndex], bool] | None = None,
    needs_coordinator: bool = True,
) -> list[Finding]:
    """Return what only all files together show: G004, G005, G042, G061, G080; and all about objects that run no pods.

    is_confidential, has_ingress: whether a workload has our runtime class and an ingress annotation once settings are
    applied; by default the files alone decide. needs_coordinator: False if one is added to the sources.
    """
    confidential = is_confidential or (lambda doc: is_confidential_class(doc.runtime_class))
    ingress = has_ingress or (lambda doc: INGRESS in doc.annotations)
    placed = [(index.file, doc) for index in indexes for doc in index.documents]
    findings = duplicates(indexes)
    findings += _unprotected(placed, confidential)
    findings += _without_ingress(placed, confidential, ingress)
    findings += _coordinators(placed, needs_coordinator=needs_coordinator)
    findings += _missing_configs(placed)
    findings += [finding for _, doc in placed for finding in doc.findings]
    return findings


def _unprotected(
    placed: Iterable[tuple[str, DocIndex]], confidential: Callable[[DocIndex], bool]
) -> list[Finding]:
    return [
        Finding(
            catalogue.NOT_CONFIDENTIAL,
            Location(file=file, line=doc.line),
            f"{doc.key} has {f'the runtime class {doc.runtime_class}' if doc.runtime_class else 'no runtime class'},"
            " expected contrast-cc; it runs outside the confidential deployment",
        )
        for file, doc in placed
        if doc.is_workload and not confidential(doc)
    ]


def _without_ingress(
    placed: Sequence[tuple[str, DocIndex]],
    confidential: Callable[[DocIndex], bool],
    has_ingress: Callable[[DocIndex], bool],
) -> list[Finding]:
    services = _Services(placed)
    findings: list[Finding] = []
    for file, doc in placed:
        if (
            not doc.is_workload
            or doc.role == "coordinator"
            or has_ingress(doc)
            or not confidential(doc)
        ):
            continue
        found = services.first_selecting(doc)
        if found is not None:
            service_file, service = found
            findings.append(
                Finding(
                    catalogue.MESH_INGRESS_ABSENT,
                    Location(file=file, line=doc.line),
                    f"{doc.key} has no servicemesh-ingress annotation and is reached through the Service"
                    f" {service.name} at {service_file}:{service.line}, expected protected ingress",
                )
            )
    return findings


class _Services:
    """All Services with a selector, each under its namespace and the one label of its selector that fewest others have."""

    def __init__(self, placed: Sequence[tuple[str, DocIndex]]) -> None:
        services = [(file, doc) for file, doc in placed if doc.selector]
        uses = Counter(label for _, service in services for label in _labels(service))
        self._by_label: dict[_Label, list[tuple[int, str, DocIndex]]] = {}
        for position, (file, service) in enumerate(services):
            label = min(_labels(service), key=uses.__getitem__)
            self._by_label.setdefault(label, []).append((position, file, service))

    def first_selecting(self, doc: DocIndex) -> tuple[str, DocIndex] | None:
        """Return the first Service in front of a workload's pods, with its file."""
        found = [
            (position, file, service)
            for key, value in doc.pod_labels.items()
            for position, file, service in self._by_label.get(
                (doc.effective_namespace, key, value), ()
            )
            if service.selects(doc)
        ]
        if not found:
            return None
        _, file, service = min(found, key=itemgetter(0))
        return file, service


def _labels(service: DocIndex) -> Iterator[_Label]:
    namespace = service.effective_namespace
    return ((namespace, key, value) for key, value in service.selector.items())


def _coordinators(
    placed: Iterable[tuple[str, DocIndex]], *, needs_coordinator: bool
) -> list[Finding]:
    found = [(file, doc) for file, doc in placed if doc.role == "coordinator"]
    if not found and needs_coordinator:
        return [
            Finding(
                catalogue.NO_COORDINATOR,
                Location(file="contrast.toml"),
                "found no Coordinator among the resources, expected one StatefulSet with the pod role coordinator",
            )
        ]
    return [
        Finding(
            catalogue.SEVERAL_COORDINATORS,
            Location(file=file, line=doc.line),
            f"found a second Coordinator {doc.key}, the first is at {found[0][0]}:{found[0][1].line};"
            " expected one",
        )
        for file, doc in found[1:]
    ]


def _missing_configs(placed: Sequence[tuple[str, DocIndex]]) -> list[Finding]:
    known = {(doc.kind, doc.effective_namespace, doc.name) for _, doc in placed}
    elsewhere = {(doc.kind, doc.name): (file, doc) for file, doc in reversed(placed)}
    findings: list[Finding] = []
    for file, doc in placed:
        for use in dict.fromkeys(doc.references):
            wanted = (use.kind, use.namespace or "default", use.name)
            if use.optional or wanted in known or _is_published(use):
                continue
            hint = f"add the {use.kind} to the sources, or mark the reference optional: true"
            if (use.kind, use.name) in elsewhere:
                other_file, other = elsewhere[use.kind, use.name]
                hint = (
                    f"the one at {other_file}:{other.line} is in the namespace {other.effective_namespace},"
                    f" and a pod sees that of its own, {wanted[1]}, only"
                )
            findings.append(
                Finding(
                    catalogue.CONFIG_NOT_IN_SOURCES,
                    Location(file=file, line=use.line),
                    f"{doc.key} refers to the {use.kind} {use.name}, expected it among the sources",
                    hint,
                )
            )
    return findings


def _is_published(use: ConfigUse) -> bool:
    # Every namespace holds this ConfigMap; the API server writes it, so no source can.
    return use.kind == "ConfigMap" and use.name == "kube-root-ca.crt"
