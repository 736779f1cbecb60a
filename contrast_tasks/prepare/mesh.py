"""A workload's mesh annotations, read and judged: grammar, the pod around them, the pods they lead to.

Source: docs/internals/service-mesh.md 1, 2.3, 9.
"""

from collections.abc import Callable, Mapping, Sequence

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Findings
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import location
from contrast_tasks.kube.index import DocIndex, FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.mesh import checks
from contrast_tasks.mesh.grammar import parse_mesh
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.mesh.place import Place, Spot
from contrast_tasks.prepare.declared import declared_annotations
from contrast_tasks.settings.load import Settings

_KEYS = (*annotations.MESH_KEYS, annotations.INGRESS_PEERS, annotations.EGRESS_PEERS)


def read(subject: Subject, declared: Mapping[str, Location]) -> MeshConfig | None:
    """Return the mesh configuration of a workload, None if it has no mesh; problems become findings.

    declared: places of annotations that come from the settings.
    """
    values = workloads.annotations(subject.obj)
    places = _places(subject, declared)
    if not any(key in values for key in annotations.MESH_KEYS):
        _peers_without_mesh(subject, values, places)
        return None
    if values.get(annotations.EGRESS) == "":
        subject.findings.append(_empty_egress(subject, places))
    findings = _findings(subject, places)
    config = parse_mesh(values, findings)
    checks.check_pod(config, subject.spec, findings)
    subject.findings.extend(findings)
    return config


def refuse_without_runtime_class(subject: Subject, declared: Mapping[str, Location]) -> None:
    """Note mesh annotations of a pod that runs outside a confidential guest, where nothing would act on them."""
    values = workloads.annotations(subject.obj)
    places = _places(subject, declared)
    for key in _KEYS:
        if key in values:
            where = places.get(key, location(subject.document))
            subject.report(
                catalogue.MESH_WITHOUT_RUNTIME_CLASS,
                (),
                f"the annotation {key} at {where} would do nothing without a runtime class of ours",
            )


def tell_that_it_is_skipped(subject: Subject, declared: Mapping[str, Location]) -> None:
    """Note that the mesh a workload asks for is left out by the settings, so nothing protects its traffic."""
    values = workloads.annotations(subject.obj)
    places = _places(subject, declared)
    key = next(key for key in annotations.MESH_KEYS if key in values)
    subject.findings.append(
        Finding(
            catalogue.MESH_SKIPPED,
            places.get(key, location(subject.document)),
            f"{subject.key}: {key} asks for the service mesh, and it is left out",
        )
    )


def check_topology(indexes: Sequence[FileIndex], settings: Settings) -> list[Finding]:
    """Return a finding for each egress entry that leads to a pod of the sources without a mesh."""
    placed = [(index.file, doc) for index in indexes for doc in index.documents]
    services = [doc for _, doc in placed if doc.selector]
    pods = [(file, doc) for file, doc in placed if doc.is_workload]
    meshes = [_effective(doc, settings) for _, doc in pods]
    findings: list[Finding] = []
    for (file, doc), values in zip(pods, meshes, strict=True):
        if not values.get(annotations.EGRESS):
            continue
        where = Location(file=file, line=doc.line)
        found = Findings[Spot](_always(where), doc.key)
        egress = {annotations.EGRESS: values[annotations.EGRESS]}
        config = parse_mesh(egress, Findings(_always(where)))
        peers = [
            checks.MeshPeer(
                key=other.key,
                has_mesh=bool(mesh),
                service_names=_service_names(other, services, doc),
            )
            for (_, other), mesh in zip(pods, meshes, strict=True)
        ]
        checks.check_topology(config, peers, found)
        findings += found
    return findings


def _always(where: Location) -> Callable[[Spot], Location]:
    return lambda _: where


def _effective(doc: DocIndex, settings: Settings) -> dict[str, str]:
    declared = settings.workload(doc.key)
    values = {key: doc.annotations[key] for key in annotations.MESH_KEYS if key in doc.annotations}
    return values | declared_annotations(declared) if declared else values


def _service_names(
    doc: DocIndex, services: Sequence[DocIndex], seen_from: DocIndex
) -> frozenset[str]:
    names: set[str] = set()
    for service in services:
        if service.selects(doc):
            names.add(f"{service.name}.{doc.effective_namespace}")
            if doc.effective_namespace == seen_from.effective_namespace:
                names.add(service.name)
    return frozenset(names)


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
                "a servicemesh-ingress or servicemesh-egress annotation beside it",
            )
    subject.findings.extend(findings)


def _empty_egress(subject: Subject, places: Mapping[str, Location]) -> Finding:
    return Finding(
        catalogue.MESH_EGRESS_EMPTY,
        places.get(annotations.EGRESS, location(subject.document)),
        f"{subject.key}: {annotations.EGRESS} is empty, expected entries of name#ip:port#host:port",
    )
