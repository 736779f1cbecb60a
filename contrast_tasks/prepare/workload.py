"""The prepare stage: from a workload as written, and its settings, to the workload as it will be deployed.

Order: settings (runtime class, memory, annotations, environment), checks over the result, mesh annotations, injected
containers. Sources are never changed, so the result depends on source and settings alone.
Source: docs/internals/generate.md 5.1, 6, 8; docs/internals/graph.md 4.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.kube import nodes, workloads
from contrast_tasks.kube.check_annotations import check_annotations
from contrast_tasks.kube.check_release import check_release
from contrast_tasks.kube.check_structure import check_generated_name, check_structure
from contrast_tasks.kube.checks import check_deployment, check_workload
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.index import DocIndex, FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import is_confidential_class, platform
from contrast_tasks.prepare import declared, encrypted, inject, support, versions
from contrast_tasks.prepare.containers import Containers, coordinator_variables
from contrast_tasks.prepare.limit_ranges import NO_RANGES, LimitRanges
from contrast_tasks.prepare.memory import NOT_IN_GUEST, ImageMemory
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import WorkloadSettings

if TYPE_CHECKING:
    from contrast_tasks.mesh.model import MeshConfig


class Prepared(Record):
    """A prepared document.

    obj: as it will be deployed, without a policy and with image references as written; not to be deployed if a finding is
    an error. mesh: the mesh configuration, None without a sidecar. is_whole: whether the structure was right, so that obj
    has everything that was added to it.
    """

    obj: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    mesh: "MeshConfig | None" = None
    is_whole: bool = True


def prepare(
    document: Document,
    *,
    settings: Settings,
    runtime_class: str,
    coordinator_namespace: str | None = None,
    memory: ImageMemory = NOT_IN_GUEST,
    ranges: LimitRanges = NO_RANGES,
) -> Prepared:
    """Return a document prepared; the object is unchanged if it runs no pods.

    runtime_class: name of the platform's runtime handler. coordinator_namespace: as written in the Coordinator's
    metadata, "" if that has none; None: there is none among the sources. memory: what our own images take in the guest.
    ranges: those of the workload's namespace.
    """
    if not workloads.is_workload(document.obj):
        return Prepared(obj=document.obj, findings=tuple(check_annotations(document)))
    subject = Subject(document, nodes.copied(document.obj))
    findings = subject.findings
    findings.extend(check_annotations(document))
    findings.extend(check_release(document, settings.release, settings.platform))
    if not subject.spec:
        message = "found no pod spec, expected one"
        subject.report(catalogue.NO_CONTAINER, subject.spec_path, message, hint="")
        return Prepared(obj=document.obj, findings=tuple(findings), is_whole=False)
    if structure := check_structure(document):
        return Prepared(obj=document.obj, findings=(*findings, *structure), is_whole=False)
    if not settings.is_local:
        findings.extend(check_generated_name(document))
    own_settings = settings.workload(
        subject.key, is_coordinator=workloads.is_coordinator(document.obj)
    )
    places = declared.declared_places(own_settings)
    obj = declared.apply(subject, settings, own_settings, runtime_class, ranges)
    subject = Subject(document, obj, findings)
    if not is_confidential_class(workloads.runtime_class(obj)):
        if _has_mesh(obj):
            from contrast_tasks.prepare.mesh import refuse_without_runtime_class

            refuse_without_runtime_class(subject, places)
        return Prepared(obj=obj, findings=tuple(findings))
    _remove_id_blocks(obj)
    where = platform(settings.platform)
    admitted = ranges.admitted(obj)
    found = check_workload(document, admitted, platform=where, release=settings.release)
    if own_settings is not None and own_settings.fit_memory:
        # The sum is raised to what it needs.
        found = [each for each in found if each.entry != catalogue.MEMORY_LIMIT_IGNORED]
    findings.extend(ranges.named(found, obj))
    if workloads.is_coordinator(obj):
        versions.check_coordinator_version(subject, settings)
        declared.add_variables(obj, coordinator_variables(settings))
        inject.add_image_store(subject, obj, Containers(settings=settings, memory=memory))
        return Prepared(obj=obj, findings=tuple(findings))
    config = _mesh(subject, places, settings) if _has_mesh(obj) else None
    if config is None:
        versions.note_unrenewed(subject, settings)
    support.check_workload(subject, settings)
    encrypted.check(subject, settings, own_settings)
    suffix = _host_suffix(workloads.namespace_of(obj), coordinator_namespace, settings)
    obj = inject.inject(subject, config, settings, suffix, memory)
    return Prepared(obj=obj, findings=tuple(findings), mesh=config)


def _has_mesh(obj: Mapping[str, Any]) -> bool:
    """Return whether a workload has an annotation that a mesh would read; for most nothing of it is imported."""
    return not annotations.MESH_VARIABLES.keys().isdisjoint(workloads.annotations(obj))


def _mesh(
    subject: Subject, places: Mapping[str, Location], settings: Settings
) -> "MeshConfig | None":
    from contrast_tasks.prepare import mesh

    config = mesh.read(subject, places, settings)
    if config is None or settings.service_mesh:
        return config
    mesh.report_skipped(subject, places, is_local=settings.is_local)
    return None


def _remove_id_blocks(obj: Mapping[str, Any]) -> None:
    """Remove the annotations of an ID block that an earlier run left in the source; the output gets those of now."""
    metadata = workloads.pod_metadata(obj)
    found = workloads.mapping_at(metadata, "annotations")
    for key in [key for key in found if str(key).startswith(annotations.ID_PREFIXES)]:
        del found[key]


def check_sources(indexes: Sequence[FileIndex], settings: Settings) -> list[Finding]:
    """Return the findings that need all sources and the settings: G004 to G006, G042, G061, G080, G090, remotes."""
    from contrast_tasks.prepare.mesh import check_topology

    def settings_of(doc: DocIndex) -> WorkloadSettings | None:
        return settings.workload(doc.key, is_coordinator=doc.role == annotations.ROLE_COORDINATOR)

    def has_links(doc: DocIndex) -> bool:
        own_settings = settings_of(doc)
        declared_links = own_settings.service_links if own_settings is not None else None
        return not doc.has_no_links if declared_links is None else declared_links

    def is_elsewhere(kind: str, namespace: str, name: str) -> bool:
        return settings.config(kind, namespace, name) is not None

    def is_confidential(doc: DocIndex) -> bool:
        if is_confidential_class(doc.runtime_class):
            return True
        own_settings = settings_of(doc)
        chosen = own_settings.runtime_class if own_settings is not None else None
        return not doc.runtime_class and (settings.runtime_class if chosen is None else chosen)

    def has_ingress(doc: DocIndex) -> bool:
        own_settings = settings_of(doc)
        is_declared = own_settings is not None and own_settings.ingress is not None
        return is_declared or annotations.INGRESS in doc.annotations

    return [
        *check_deployment(
            indexes,
            is_confidential=is_confidential,
            has_ingress=has_ingress,
            needs_coordinator=not settings.adds_coordinator,
            has_links=has_links,
            is_elsewhere=is_elsewhere,
            has_elsewhere=not settings.is_local,
        ),
        *declared.unknown_workloads(indexes, settings),
        *declared.unused_objects(indexes, settings),
        *versions.other_versions(settings),
        *versions.impossible_store(settings),
        *versions.impossible_pulls(settings),
        *versions.impossible_lifetime(settings),
        *support.check_project(indexes, settings, is_confidential),
        *check_topology(indexes, settings),
        *encrypted.check_claims(indexes, settings),
    ]


def _host_suffix(namespace: str, coordinator_namespace: str | None, settings: Settings) -> str:
    """Return what follows the name of the Coordinator's Service; cluster DNS finds one of another namespace only by both.

    Where no namespace is written the kubectl context decides, and the name alone is right in all of them. The reference
    product writes `default` then, and to v1.15 no namespace at all. Source: docs/internals/releases.md 5.1.
    """
    has_namespace = settings.release.injected.host_has_namespace
    if settings.components.are_reference:
        return f".{coordinator_namespace or 'default'}" if has_namespace else ""
    if has_namespace and coordinator_namespace:
        return f".{coordinator_namespace}"
    own = namespace or "default"
    other = own if coordinator_namespace is None else coordinator_namespace or "default"
    return "" if own == other else f".{other}"
