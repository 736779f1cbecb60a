"""Read and check a workload's mesh annotations: their grammar, their pod, and the workloads to which egress leads.

Source: docs/internals/service-mesh.md 1, 2.3, 9.
"""

from collections.abc import Mapping, Sequence

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Findings
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import location
from contrast_tasks.kube.index import DocIndex, FileIndex, selections
from contrast_tasks.kube.subject import Subject
from contrast_tasks.mesh import checks
from contrast_tasks.mesh.grammar import INGRESS_DISABLED, parse_mesh
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.mesh.place import Place, Spot
from contrast_tasks.prepare.declared import declared_annotations
from contrast_tasks.releases.table import RELEASES, Release
from contrast_tasks.settings.model import Settings

_KEYS = (*annotations.MESH_KEYS, annotations.INGRESS_PEERS, annotations.EGRESS_PEERS)


def read(
    subject: Subject, declared: Mapping[str, Location], settings: Settings
) -> MeshConfig | None:
    """Return the mesh configuration of a workload, None if it has no mesh; faults become findings.

    declared: places of the annotations that come from the settings, which also say whose proxy reads them.
    """
    release = settings.release
    values = workloads.annotations(subject.obj)
    places = _places(subject, declared)
    if not any(key in values for key in annotations.MESH_KEYS):
        _peers_without_mesh(subject, values, places)
        return None
    if values.get(annotations.EGRESS) == "":
        subject.findings.append(_empty_egress(subject, places))
    findings = _findings(subject, places)
    if values.get(annotations.INGRESS) == INGRESS_DISABLED and not release.has_disabled_ingress:
        _disabled_too_early(findings, release)
    config = parse_mesh(values, findings)
    checks.check_pod(config, subject.spec, findings)
    if settings.components.are_reference:
        _peers_of_another_proxy(findings, values)
    elif any(entry.port == config.admin_port for entry in config.ingress):
        Place(annotations.ADMIN_PORT, None, findings).report(
            catalogue.MESH_ADMIN_PRIVATE,
            "",
            f"an ingress entry for the admin port {config.admin_port}",
            "no such entry: the admin interface is on 127.0.0.1 inside the pod only",
        )
    subject.findings.extend(findings)
    return config


def refuse_without_runtime_class(subject: Subject, declared: Mapping[str, Location]) -> None:
    """Report mesh annotations of a pod that is not confidential, where they have no effect."""
    values = workloads.annotations(subject.obj)
    places = _places(subject, declared)
    for key in _KEYS:
        if key in values:
            where = places.get(key, location(subject.document))
            subject.report(
                catalogue.MESH_WITHOUT_RUNTIME_CLASS,
                (),
                f"the annotation {key} at {where} has no effect without a confidential runtime class",
            )


def report_skipped(subject: Subject, declared: Mapping[str, Location], *, is_local: bool) -> None:
    """Report that the settings disable the mesh that a workload requests.

    In a guest nobody lifts the rule against incoming connections then (docs/internals/releases.md 4).
    """
    key, where = requested(subject, declared)
    subject.findings.append(
        Finding(
            catalogue.MESH_SKIPPED,
            where,
            f"{subject.key}: {key} requests the service mesh, but the settings disable it: outgoing"
            f" connections are not protected, and incoming ones {'neither' if is_local else 'are refused by the guest'}",
        )
    )


def requested(subject: Subject, declared: Mapping[str, Location]) -> tuple[str, Location]:
    """Return the first mesh annotation of a workload that has one, and its place."""
    values = workloads.annotations(subject.obj)
    key = next(key for key in annotations.MESH_KEYS if key in values)
    return key, _places(subject, declared).get(key, location(subject.document))


def check_topology(indexes: Sequence[FileIndex], settings: Settings) -> list[Finding]:
    """Return a finding for each egress entry that leads to a workload of the sources whose ingress has no mesh."""
    documents = [doc for index in indexes for doc in index.documents]
    meshes = {id(doc): mesh_values(doc, settings) for doc in documents if doc.is_workload}
    unprotected = {
        (service.effective_namespace, service.name): doc.key
        for service, selected in selections(documents)
        for doc in reversed(selected)
        if not _has_ingress(meshes[id(doc)])
    }
    return [
        finding
        for doc in documents
        for finding in _remotes(doc, meshes.get(id(doc), {}), unprotected)
    ]


def _remotes(
    doc: DocIndex, values: Mapping[str, str], unprotected: Mapping[tuple[str, str], str]
) -> list[Finding]:
    # Faults of the annotation itself are reported when the workload is prepared.
    faults = Findings[Spot](lambda _: doc.where)
    config = parse_mesh({annotations.EGRESS: values.get(annotations.EGRESS, "")}, faults)
    findings = Findings[Spot](lambda _: doc.where, doc.key)
    checks.check_remotes(config, doc.effective_namespace, unprotected, findings)
    return findings


def mesh_values(doc: DocIndex, settings: Settings) -> dict[str, str]:
    """Return the mesh annotations of a workload, with those that the settings declare for it."""
    declared = settings.workload(doc.key)
    values = {**doc.annotations, **(declared_annotations(declared) if declared else {})}
    return {key: values[key] for key in annotations.MESH_KEYS if key in values}


def _has_ingress(values: Mapping[str, str]) -> bool:
    return bool(values) and values.get(annotations.INGRESS) != INGRESS_DISABLED


def _places(subject: Subject, declared: Mapping[str, Location]) -> dict[str, Location]:
    found = dict(declared)
    for place in reversed(workloads.annotation_places(subject.document.obj)):
        for key in workloads.annotations_at(subject.document.obj, place):
            if key in _KEYS:
                found[key] = location(subject.document, (*place, key))
    return found


def _findings(subject: Subject, places: Mapping[str, Location]) -> Findings[Spot]:
    def locate(spot: Spot) -> Location:
        if isinstance(spot, str):
            return places.get(spot, location(subject.document))
        return location(subject.document, (*subject.spec_path, *spot))

    return Findings(locate, subject.key)


def _peers_without_mesh(
    subject: Subject, values: Mapping[str, str], places: Mapping[str, Location]
) -> None:
    findings = _findings(subject, places)
    for key in (annotations.INGRESS_PEERS, annotations.EGRESS_PEERS):
        if key in values:
            Place(key, None, findings).report(
                catalogue.MESH_PEERS,
                "",
                "the annotation without a mesh",
                "a servicemesh-ingress or servicemesh-egress annotation as well",
            )
    subject.findings.extend(findings)


def _peers_of_another_proxy(findings: Findings[Spot], values: Mapping[str, str]) -> None:
    for key in (annotations.INGRESS_PEERS, annotations.EGRESS_PEERS):
        if key in values:
            Place(key, None, findings).report(
                catalogue.MESH_PEERS,
                "",
                "names of peers, which the reference product's proxy does not check",
                "images of this tool under [components]",
            )


def _disabled_too_early(findings: Findings[Spot], release: Release) -> None:
    first = next(row.name for row in RELEASES if row.has_disabled_ingress)
    Place(annotations.INGRESS, None, findings).report(
        catalogue.MESH_INGRESS_DISABLED,
        "",
        f"{INGRESS_DISABLED}, which the proxy of release {release.name} refuses",
        "entries of name#port#flag",
        f'name the ports, each with the flag true, or set release = "{first}" or later under [runtime]',
    )


def _empty_egress(subject: Subject, places: Mapping[str, Location]) -> Finding:
    return Finding(
        catalogue.MESH_EGRESS_EMPTY,
        places.get(annotations.EGRESS, location(subject.document)),
        f"{subject.key}: {annotations.EGRESS} is empty, expected entries of name#ip:port#host:port",
    )
