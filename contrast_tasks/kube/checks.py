"""Checks over Kubernetes objects; all of them run before any image is pulled, and each reports everything it finds.

`check_workload` looks at one workload, `check_deployment` at the index of all files together.
Source: docs/internals/generate.md 6.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Setting
from contrast_tasks.kube.check_annotations import check_confidential_role, check_runtime_class
from contrast_tasks.kube.check_containers import check_identity, check_memory
from contrast_tasks.kube.check_policy import check_policy
from contrast_tasks.kube.check_volumes import check_secure_pv, check_volumes
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.index import ConfigUse, DocIndex, FileIndex, duplicates, selections
from contrast_tasks.kube.processors import check_processors
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import Platform
from contrast_tasks.pods.elsewhere import elsewhere_key, keys_wanted
from contrast_tasks.pods.service_links import link_variables
from contrast_tasks.releases.support import SEVERAL_COORDINATORS
from contrast_tasks.releases.table import Release


def check_workload(
    document: Document, obj: Mapping[str, Any], *, platform: Platform, release: Release
) -> list[Finding]:
    """Return the findings on a confidential workload whose structure and annotations have been checked.

    obj: the document's object with the settings applied; its lists have the document's order.
    """
    subject = Subject(document, obj)
    check_runtime_class(subject)
    check_confidential_role(subject)
    check_policy(subject, release.channel_of(platform.name))
    check_identity(subject)
    check_memory(subject)
    if platform.pulls_in_guest:
        check_processors(subject, platform, release)
    check_volumes(subject, has_guest=platform.tee != "simulated")
    check_secure_pv(subject)
    return subject.findings


def check_deployment(
    indexes: Sequence[FileIndex],
    *,
    is_confidential: Callable[[DocIndex], bool],
    has_ingress: Callable[[DocIndex], bool],
    needs_coordinator: bool,
    has_links: Callable[[DocIndex], bool],
    is_elsewhere: Callable[[str, str, str], bool],
    has_elsewhere: bool = True,
) -> list[Finding]:
    """Return the findings that need all files (G004, G005, G042, G061, G080), and those on objects that run no pods.

    is_confidential, has_ingress: whether a workload has our runtime class, and an ingress annotation, once the
    settings are applied. needs_coordinator: whether a missing Coordinator is an error. has_links: whether a workload gets
    variables of Services. is_elsewhere: whether a ConfigMap or Secret, by kind, namespace and name, is made elsewhere.
    has_elsewhere: whether others than the sources can make one at all.
    """
    documents = [doc for index in indexes for doc in index.documents]
    return [
        *duplicates(documents),
        *_not_confidential(documents, is_confidential),
        *_without_ingress(documents, is_confidential, has_ingress),
        *_clashing_services(documents, lambda doc: is_confidential(doc) and has_links(doc)),
        *_coordinators(documents, needs_coordinator=needs_coordinator),
        *_missing_configs(documents, is_confidential, is_elsewhere, has_elsewhere=has_elsewhere),
        *(finding for doc in documents for finding in doc.findings),
    ]


def _not_confidential(
    documents: Iterable[DocIndex], is_confidential: Callable[[DocIndex], bool]
) -> list[Finding]:
    return [
        Finding(
            catalogue.NOT_CONFIDENTIAL,
            doc.where,
            f"{doc.key} has {f'the runtime class {doc.runtime_class}' if doc.runtime_class else 'no runtime class'},"
            " expected contrast-cc; it runs outside the confidential deployment",
        )
        for doc in documents
        if doc.is_workload and not is_confidential(doc)
    ]


def _without_ingress(
    documents: Sequence[DocIndex],
    is_confidential: Callable[[DocIndex], bool],
    has_ingress: Callable[[DocIndex], bool],
) -> list[Finding]:
    first: dict[int, DocIndex] = {}
    for selecting, selected in selections(documents):
        for doc in selected:
            first.setdefault(id(doc), selecting)
    return [
        Finding(
            catalogue.MESH_INGRESS_ABSENT,
            doc.where,
            f"{doc.key} has no servicemesh-ingress annotation and is reached through the Service"
            f" {service.name} at {service.where}, expected protected ingress",
            answer=Setting(("workloads", doc.key, "ingress"), ""),
        )
        for doc in documents
        if (service := first.get(id(doc))) is not None
        and doc.role != ROLE_COORDINATOR
        and not has_ingress(doc)
        and is_confidential(doc)
    ]


def _clashing_services(
    documents: Sequence[DocIndex], has_links: Callable[[DocIndex], bool]
) -> Iterator[Finding]:
    """Yield a finding for each Service with variables of another one, where confidential pods get them.

    Services `redis` and `redis-service` both give REDIS_SERVICE_PORT; whose value arrives is left to chance.
    """
    services = [doc for doc in documents if doc.ports]
    told: set[str] = set()
    if services:
        told = {
            doc.effective_namespace
            for doc in documents
            if doc.is_workload and doc.role != ROLE_COORDINATOR and has_links(doc)
        }
    first: dict[tuple[str, str], DocIndex] = {}
    for doc in services:
        if doc.effective_namespace not in told:
            continue
        shared: dict[int, tuple[DocIndex, list[str]]] = {}
        for variable in link_variables(doc.name, doc.ports):
            other = first.setdefault((doc.effective_namespace, variable), doc)
            if other.name != doc.name:
                shared.setdefault(id(other), (other, []))[1].append(variable)
        for other, variables in shared.values():
            yield Finding(
                catalogue.SERVICE_LINK,
                doc.where,
                f"the Services {doc.name} and {other.name} at {other.where} both set {', '.join(variables)} in pods of"
                f" their namespace; which of the two values arrives is left to chance",
                f"set enableServiceLinks: false in the pods, give {', '.join(variables)} under env of containers that read"
                " it, or rename one of the two",
            )


def _coordinators(documents: Iterable[DocIndex], *, needs_coordinator: bool) -> list[Finding]:
    coordinators = [doc for doc in documents if doc.role == ROLE_COORDINATOR]
    if not coordinators and needs_coordinator:
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
            doc.where,
            f"found a second Coordinator {doc.key}, the first is at {coordinators[0].where}; expected one:"
            f" {SEVERAL_COORDINATORS}",
        )
        for doc in coordinators[1:]
    ]


def _missing_configs(
    documents: Sequence[DocIndex],
    is_confidential: Callable[[DocIndex], bool],
    is_elsewhere: Callable[[str, str, str], bool],
    *,
    has_elsewhere: bool,
) -> list[Finding]:
    known = {(doc.kind, doc.effective_namespace, doc.name) for doc in documents}
    by_name = {(doc.kind, doc.name): doc for doc in reversed(documents)}
    findings: list[Finding] = []
    for doc in documents:
        if doc.references and not is_confidential(doc):
            continue
        # Two references on one line are told once.
        told = {
            (use.kind, use.name, use.line, use.optional, use.is_mounted): use
            for use in reversed(doc.references)
        }
        for use in reversed(told.values()):
            if (
                use.optional
                or is_elsewhere(use.kind, doc.effective_namespace, use.name)
                or (use.kind, doc.effective_namespace, use.name) in known
                or _is_published(use)
            ):
                continue
            hint = f"add the {use.kind} to the sources, or mark the reference optional: true"
            key = elsewhere_key(doc.namespace, use.kind, use.name)
            if not use.is_mounted:
                table = f'[elsewhere."{key}"]'
                if not has_elsewhere:
                    table += ", with values, since nobody makes it on this machine"
                elif "/envFrom/" in use.pointer:
                    table = keys_wanted(doc.namespace, use.kind, use.name)
                hint += f"; or say in contrast.toml that it is made elsewhere: {table}"
            if other := by_name.get((use.kind, use.name)):
                hint = (
                    f"the one at {other.where} is in the namespace {other.effective_namespace}, and a pod sees"
                    f" only those of its own namespace, {doc.effective_namespace}"
                )
            findings.append(
                Finding(
                    catalogue.CONFIG_NOT_IN_SOURCES,
                    Location(file=doc.file, line=use.line, pointer=use.pointer),
                    f"{doc.key} refers to the {use.kind} {use.name}, expected it among the sources",
                    hint,
                    # Contents of volumes are no part of a policy, and a controller may make the object.
                    is_milder=use.is_mounted,
                    answer=None
                    if use.is_mounted or not has_elsewhere
                    else Setting(("elsewhere", key), {}),
                )
            )
    return findings


def _is_published(use: ConfigUse) -> bool:
    # The API server writes this ConfigMap into every namespace, so no source defines it.
    return use.kind == "ConfigMap" and use.name == "kube-root-ca.crt"
