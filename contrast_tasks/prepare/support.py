"""Refuse what does not work with the release, the platform and the images of a project (G120), and say what is assumed (G121).

What that is, `releases.support` knows; these checks find where a deployment asks for it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_containers import containers
from contrast_tasks.kube.documents import location
from contrast_tasks.kube.index import DocIndex, FileIndex
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import INSECURE_CLASS, WHY_NOT_INSECURE, platform
from contrast_tasks.pointers import Path
from contrast_tasks.releases import support
from contrast_tasks.releases.choose import full_name, is_exact
from contrast_tasks.releases.support import Refusal
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.settings.model import Settings

_CDI_PREFIX = "cdi.k8s.io/"
_GPU_PREFIX = "nvidia.com/"


def check_workload(subject: Subject, settings: Settings) -> None:
    """Report what a workload with the settings applied asks for in vain."""
    asked = {
        support.VOLUMES: _encrypted_volumes(subject) if settings.initializer else (),
        support.CDI: _cdi_annotations(subject),
        support.GPUS: _gpu_limits(subject),
    }
    for refusal, paths in asked.items():
        if _holds(settings, refusal):
            for path in paths:
                where = location(subject.document, path)
                subject.findings.append(_finding(refusal, settings, where, f"{subject.key}: "))


def _encrypted_volumes(subject: Subject) -> Iterator[Path]:
    for path in workloads.annotation_places(subject.obj):
        if annotations.SECURE_PV in workloads.annotations_at(subject.obj, path):
            yield *path, annotations.SECURE_PV


def _cdi_annotations(subject: Subject) -> Iterator[Path]:
    place = workloads.annotation_places(subject.obj)[0]
    for key in workloads.annotations_at(subject.obj, place):
        if key.startswith(_CDI_PREFIX):
            yield *place, key


def _gpu_limits(subject: Subject) -> Iterator[Path]:
    for path, container in containers(subject):
        resources = workloads.mapping_at(container, "resources")
        for name in workloads.mapping_at(resources, "limits"):
            if str(name).startswith(_GPU_PREFIX):
                yield *path, "resources", "limits", name


def check_project(
    indexes: Sequence[FileIndex],
    settings: Settings,
    is_confidential: Callable[[DocIndex], bool],
) -> list[Finding]:
    """Return the findings on what holds for the project as a whole."""
    documents = [doc for index in indexes for doc in index.documents if doc.is_workload]
    confidential = [doc for doc in documents if is_confidential(doc)]
    return [
        *_assumed(settings),
        *_ended(settings),
        *_unnamed(settings, confidential),
        *_insecure(documents),
        *(
            _finding(each, settings, settings.where("platform"))
            for each in support.PROJECT
            if _holds(settings, each)
        ),
    ]


def _holds(settings: Settings, refusal: Refusal) -> bool:
    is_reference = settings.components.are_reference
    return refusal.holds(settings.release, settings.platform, are_reference=is_reference)


def _finding(refusal: Refusal, settings: Settings, where: Location, about: str = "") -> Finding:
    message = refusal.message(settings.release_name, settings.platform)
    return Finding(catalogue.UNSUPPORTED, where, f"{about}{message}", refusal.hint)


def _assumed(settings: Settings) -> Iterator[Finding]:
    if not is_exact(full_name(settings.release_name)):
        yield Finding(
            catalogue.RELEASE_ASSUMED,
            settings.where("runtime.release"),
            f"runtime.release is {settings.release_name}, whose formats were not checked; expected"
            f" {settings.release.name}, whose formats it is taken to have",
        )


def _ended(settings: Settings) -> Iterator[Finding]:
    if ended := platform(settings.platform).ended:
        yield Finding(
            catalogue.SERVICE_ENDED,
            settings.where("platform"),
            f"the service of platform {settings.platform} ended in {ended}; what is generated for it was tested against"
            " recorded requests only, on no node",
        )


def _unnamed(settings: Settings, confidential: Sequence[DocIndex]) -> Iterator[Finding]:
    """Yield a finding for each image that is said to be the reference product's and is ours."""
    if not settings.components.are_reference:
        return
    from contrast_tasks.prepare.mesh import mesh_values

    default = ComponentSettings()
    used = {
        "initializer": settings.initializer
        and any(doc.role != annotations.ROLE_COORDINATOR for doc in confidential),
        "service_mesh": settings.service_mesh
        and any(mesh_values(doc, settings) for doc in confidential),
        "coordinator": any(default.coordinator in doc.images for doc in confidential),
    }
    for name, is_used in used.items():
        found = getattr(settings.components, name)
        if is_used and found == getattr(default, name):
            yield Finding(
                catalogue.UNSUPPORTED,
                settings.where(f"components.{name}"),
                f"components.{name} is {found}, an image of this tool, and the others are the reference product's;"
                f" expected that of release {settings.release_name}",
                f"set {name} under [components], with its digest",
            )


def _insecure(documents: Iterable[DocIndex]) -> Iterator[Finding]:
    for doc in documents:
        if doc.runtime_class.startswith(INSECURE_CLASS):
            yield Finding(
                catalogue.UNSUPPORTED,
                doc.where,
                f"{doc.key} has the runtime class {doc.runtime_class}, expected contrast-cc:"
                f" {WHY_NOT_INSECURE}",
                "write contrast-cc",
            )
