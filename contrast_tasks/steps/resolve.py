"""Which locked images a workload's references mean, and what is told where one is missing."""

from collections.abc import Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import ImageError
from contrast_tasks.findings import Finding
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.checks import check_images
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.settings.load import ComponentSettings
from contrast_tasks.steps.images import image_sites
from contrast_tasks.steps.paths import COORDINATOR_SOURCE
from contrast_tasks.steps.project import Project


def resolve_images(
    project: Project, document: Document, obj: Mapping[str, Any]
) -> tuple[dict[str, LockedImage], list[Finding]]:
    """Return the locked image of every reference of the prepared object, and what is missing."""
    lock = project.lock() or Lock()
    images: dict[str, LockedImage] = {}
    findings: list[Finding] = []
    malformed: set[str] = set()
    # What stands in the Coordinator's template is ours too, and nobody can edit it.
    own = set() if document.file == COORDINATOR_SOURCE else set(workloads.images(document.obj))
    for path, reference in image_sites(obj):
        try:
            found = lock.resolve(reference)
        except ImageError as error:
            malformed.add(reference)
            if reference in own:
                where = location(document, path)
                findings.append(Finding(catalogue.IMAGE_REFERENCE, where, str(error), error.hint))
            continue
        if found is not None:
            images[reference] = found
        elif (setting := _component(project, reference)) and reference not in own:
            findings.append(_component_finding(project, setting, reference))
        elif reference not in own or "@" in reference:
            message = f"{workloads.workload_key(obj)}: found no entry for image {reference} in {project.settings.lock}"
            where = location(document, path)
            findings.append(Finding(catalogue.IMAGE_NOT_LOCKED, where, message))
    said = {*images, *malformed}
    findings += check_images(document, lambda reference: reference in said or reference not in own)
    return images, list(dict.fromkeys(findings))


def _component(project: Project, reference: str) -> str:
    """Return the key of [components] that names the image, "" for any other image."""
    components = project.settings.components
    names = {
        components.initializer: "initializer",
        components.service_mesh: "service_mesh",
        components.coordinator: "coordinator",
    }
    return names.get(reference, "")


def _component_finding(project: Project, setting: str, reference: str) -> Finding:
    """Return what is missing of an image of ours, the same for every workload that gets it."""
    lock, key, hint = project.settings.lock, f"components.{setting}", None
    if reference == getattr(ComponentSettings(), setting):
        message = f"{key} is {reference} by default, found no entry for it in {lock}"
        hint = (
            "push that image to a registry of yours, name it in [components], then run"
            " 'contrast-tasks lock'"
        )
    else:
        message = f"{key} is {reference}, found no entry for it in {lock}"
    return Finding(catalogue.IMAGE_NOT_LOCKED, project.settings.where(key), message, hint)
