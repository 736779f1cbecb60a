"""The prepare stage: one workload as written, plus its settings, to the workload as it will be deployed.

Order: settings (runtime class, memory, annotations, environment), checks over the result, mesh annotations, then the
injected containers. Sources are never changed, so what is prepared follows from source and settings alone.
Source: docs/internals/generate.md 5.1, 6, 8; docs/internals/graph.md 4.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import checks, workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.index import DocIndex, FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.platforms import platform
from contrast_tasks.prepare import declared as prepare_settings
from contrast_tasks.prepare import inject as prepare_inject
from contrast_tasks.prepare import mesh as prepare_mesh
from contrast_tasks.prepare.inject import Components
from contrast_tasks.settings.load import Settings, WorkloadSettings

__all__ = ["Components", "Prepared", "check_sources", "prepare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The outcome for one document.

    obj: as it will be deployed, without policy and with image references as written; findings: everything found, the
    object is of no use if one is an error. mesh: the mesh configuration, None without a sidecar.
    """

    obj: dict[str, Any]
    findings: tuple[Finding, ...] = ()
    mesh: MeshConfig | None = None


def prepare(
    document: Document,
    *,
    settings: Settings,
    workload_settings: WorkloadSettings | None = None,
    runtime_class: str,
    components: Components,
    coordinator_namespace: str | None = None,
) -> Prepared:
    """Return the prepared object of one document; anything that runs no pods is returned as it is.

    runtime_class: the platform's runtime handler name. workload_settings: by default looked up in `settings`.
    coordinator_namespace: "" for none, as written at the Coordinator; None is the workload's own.
    """
    if not workloads.is_workload(document.obj):
        return Prepared(obj=document.obj, findings=tuple(checks.check_annotations(document)))
    key = workloads.workload_key(document.obj)
    declared = workload_settings or settings.workload(key)
    subject = Subject(document, copy.deepcopy(document.obj))
    findings = subject.findings
    findings.extend(checks.check_annotations(document))
    if not workloads.pod_spec(document.obj):
        path = workloads.spec_path(document.obj)
        subject.report(catalogue.NO_CONTAINER, path, "found no pod spec, expected one", hint="")
        return Prepared(obj=document.obj, findings=tuple(findings))
    if structure := checks.check_structure(document):
        return Prepared(obj=document.obj, findings=(*findings, *structure))
    places = prepare_settings.declared_places(declared)
    obj = prepare_settings.apply(subject, settings, declared, runtime_class)
    subject = Subject(document, obj, findings)
    if not workloads.is_confidential_class(workloads.runtime_class(obj)):
        prepare_mesh.refuse_without_runtime_class(subject, places)
        return Prepared(obj=obj, findings=tuple(findings))
    findings.extend(checks.check_workload(document, obj, platform=platform(settings.platform)))
    endorsements = prepare_inject.endorsement_variables(settings.mirrors, settings.proxy)
    if workloads.is_coordinator(obj):
        prepare_settings.add_variables(obj, endorsements)
        return Prepared(obj=obj, findings=tuple(findings))
    mesh = prepare_mesh.read(subject, places)
    if mesh is not None and not settings.service_mesh:
        prepare_mesh.tell_that_it_is_skipped(subject, places)
        mesh = None
    namespace = _suffix(obj, coordinator_namespace)
    obj = prepare_inject.inject(
        subject, mesh, components, namespace, endorsements, initializer=settings.initializer
    )
    return Prepared(obj=obj, findings=tuple(findings), mesh=mesh)


def check_sources(
    indexes: Sequence[FileIndex], settings: Settings, *, needs_coordinator: bool | None = None
) -> list[Finding]:
    """Return the findings that need all sources and the settings: G004 to G006, G042, G061, G080, G090, remotes.

    needs_coordinator: whether the indexes themselves must hold the Coordinator; by default only if the settings do
    not add it.
    """

    def confidential(doc: DocIndex) -> bool:
        declared = settings.workload(doc.key)
        chosen = declared.runtime_class if declared is not None else None
        if workloads.is_confidential_class(doc.runtime_class):
            return True
        wanted = settings.runtime_class if chosen is None else chosen
        return wanted and not doc.runtime_class

    def ingress(doc: DocIndex) -> bool:
        declared = settings.workload(doc.key)
        is_declared = declared is not None and declared.ingress is not None
        return is_declared or annotations.INGRESS in doc.annotations

    if needs_coordinator is None:
        needs_coordinator = not settings.include_coordinator
    return [
        *checks.check_deployment(
            indexes,
            is_confidential=confidential,
            has_ingress=ingress,
            needs_coordinator=needs_coordinator,
        ),
        *prepare_settings.unknown_workloads(indexes, settings),
        *prepare_settings.other_versions(settings),
        *prepare_mesh.check_topology(indexes, settings),
    ]


def _suffix(obj: dict[str, Any], coordinator_namespace: str | None) -> str:
    # Cluster DNS finds a Service of another namespace only by name.namespace.
    own = workloads.namespace_of(obj) or "default"
    other = own if coordinator_namespace is None else coordinator_namespace or "default"
    return "" if own == other else f".{other}"
