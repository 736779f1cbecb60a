"""The locked images of a workload's references: look them up, report missing ones, pin the references."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import ImageError
from contrast_tasks.findings import Finding
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_containers import check_images
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.kube.workloads import mappings_at, pod_spec, spec_path
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.pointers import Path, replaced
from contrast_tasks.settings.components import COMPONENT_IMAGES, ComponentSettings
from contrast_tasks.settings.model import Settings


def image_sites(obj: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the path and reference of every container image of a pod, init containers first."""
    spec, base = pod_spec(obj), spec_path(obj)
    for key in ("initContainers", "containers"):
        for number, container in mappings_at(spec, key):
            image = container.get("image")
            if isinstance(image, str):
                yield (*base, key, number, "image"), image


def pin_images(obj: dict[str, Any], images: Mapping[str, LockedImage]) -> dict[str, Any]:
    """Return a copy of the object in which each reference in `images` is pinned."""
    for path, reference in image_sites(obj):
        found = images.get(reference)
        # One without an entry may be malformed.
        if found is not None and (parsed := parse_reference(reference)).digest is None:
            obj = replaced(obj, path, str(parsed.pinned(found.digest)))
    return obj


def resolve_images(
    document: Document,
    obj: Mapping[str, Any],
    lock: Lock,
    settings: Settings,
    *,
    is_ours: bool,
    why_not_locked: Callable[[str], ImageError | None],
) -> tuple[dict[str, LockedImage], list[Finding]]:
    """Return the locked image of each reference of the prepared object, and findings on missing ones.

    is_ours: whether the document is a template of this tool, whose references users cannot edit. why_not_locked: what is to be
    said of a reference without an entry, None for nothing special.
    """
    images: dict[str, LockedImage] = {}
    findings: list[Finding] = []
    said: set[str] = set()
    own = set() if is_ours else set(workloads.images(document.obj))
    for path, reference in image_sites(obj):
        try:
            found = lock.resolve(reference)
        except ImageError as error:
            said.add(reference)
            if reference in own:
                finding = Finding(
                    catalogue.IMAGE_REFERENCE, location(document, path), str(error), error.hint
                )
                findings.append(finding)
            continue
        if found is not None:
            images[reference] = found
        elif reference in own and (problem := why_not_locked(reference)) is not None:
            said.add(reference)
            message = f"{workloads.workload_key(document.obj)}: {problem}"
            where = location(document, path)
            findings.append(
                Finding(catalogue.IMAGE_NOT_LOCKED, where, message, problem.hint or None)
            )
        elif (setting := _component(settings, reference)) and reference not in own:
            findings.append(_component_finding(settings, setting, reference))
        elif reference not in own or "@" in reference:
            message = f"{workloads.workload_key(obj)}: found no entry for image {reference} in {settings.lock}"
            where = location(document, path)
            findings.append(Finding(catalogue.IMAGE_NOT_LOCKED, where, message))
    said |= images.keys()
    findings += check_images(document, lambda reference: reference in said or reference not in own)
    return images, list(dict.fromkeys(findings))


def _component(settings: Settings, reference: str) -> str:
    """Return the key of [components] that names an image, "" for other images."""
    names = {getattr(settings.components, name): name for name in COMPONENT_IMAGES}
    return names.get(reference, "")


def _component_finding(settings: Settings, setting: str, reference: str) -> Finding:
    """Return the finding on a missing image of ours, which is the same for all workloads with it."""
    key, hint = f"components.{setting}", None
    if reference == getattr(ComponentSettings(), setting):
        message = f"{key} is {reference} by default, found no entry for it in {settings.lock}"
        hint = (
            "'contrast-tasks images build --registry HOST/PATH' pushes our images and names them in [components]; then run"
            " 'contrast-tasks lock'"
        )
    else:
        message = f"{key} is {reference}, found no entry for it in {settings.lock}"
    return Finding(catalogue.IMAGE_NOT_LOCKED, settings.where(key), message, hint)
