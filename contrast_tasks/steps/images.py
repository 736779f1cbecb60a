"""Images in `generate`: keep the lock file complete without a registry, and pin references in prepared objects.

What only a registry knows is left to the `lock` command, so that generating never needs the network by surprise; the
workload that uses such an image says so with its place.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from contrast_tasks.errors import ImageError
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube.workloads import mappings_at, pod_spec, spec_path
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.pointers import Path
from contrast_tasks.steps.paths import Spec
from contrast_tasks.steps.project import Project, open_project


def lock(project: Spec) -> dict[str, Any]:
    """Bring the lock file up to date with the layouts on disk and the references in use.

    Nothing is dropped: a reference that is out of use now may stand in a file that cannot be read at the moment.
    """
    from contrast_tasks.steps.lock import run_lock

    opened = open_project(project)
    settings = opened.settings
    kept = (opened.lock() or Lock()).images
    result = run_lock(settings, [*_resolvable(opened), *kept], offline=True)
    return {"wrote": [settings.lock] if result["changed"] else []}


def _resolvable(project: Project) -> list[str]:
    from contrast_tasks.images.layout import find_layout, open_layouts

    settings = project.settings
    layouts = open_layouts(settings.root, settings.layouts)
    locked = project.lock() or Lock()
    found = []
    for reference in project.used_images():
        try:
            is_known = (
                reference in locked.images
                or find_layout(layouts, parse_reference(reference)) is not None
            )
        except ImageError:
            continue
        if is_known:
            found.append(reference)
    return found


def image_sites(obj: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield path and reference of every container image of a pod, init containers first."""
    spec, base = pod_spec(obj), spec_path(obj)
    for key in ("initContainers", "containers"):
        for number, container in mappings_at(spec, key):
            image = container.get("image")
            if isinstance(image, str):
                yield (*base, key, number, "image"), image


def pin_images(obj: dict[str, Any], images: Mapping[str, LockedImage]) -> dict[str, Any]:
    """Return the object with every reference in `images` replaced by the pinned one; the given one stays as it is."""
    for path, reference in image_sites(obj):
        found, parsed = images.get(reference), parse_reference(reference)
        if found is not None and parsed.digest is None:
            obj = _replaced(obj, path, str(parsed.pinned(found.digest)))
    return obj


def _replaced(node: Any, path: Path, value: Any) -> Any:
    if not path:
        return value
    step, *rest = path
    copy: Any = list(node) if isinstance(node, list) else dict(node)
    copy[step] = _replaced(copy[step], tuple(rest), value)
    return copy


def pack_images(project: Spec) -> dict[str, Any]:
    """Pack the images of the project and of our components into the layout below the build directory."""
    from contrast_tasks.steps.pack import layout_name, pack

    settings = open_project(project).settings
    result = pack(settings)
    return {"wrote": [f"{layout_name(settings)}/index.json"] if result["changed"] else []}


def pack_components(project: Spec) -> dict[str, Any]:
    """Pack our own images that no declared layout has, so that platform `local` needs no registry for them."""
    from contrast_tasks.steps import pack

    settings = open_project(project).settings
    changed = pack.pack_components(settings)
    return {"wrote": [f"{pack.layout_name(settings)}/index.json"] if changed else []}
