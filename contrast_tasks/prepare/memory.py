"""Check that a guest has enough memory for its containers, and for its images if the guest pulls them (G032).

Besides the base memory, which the guest needs for itself, it has the sum of the main containers' limits, or the limit of
the pod as a whole where there is one.
Source: docs/internals/runtime.md 8; docs/internals/generate.md 10.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.errors import ImageError
from contrast_tasks.findings import Finding
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.subject import Subject
from contrast_tasks.platforms import Platform, platform
from contrast_tasks.pods.injected import IMAGE_STORE, INITIALIZER, SERVICE_MESH
from contrast_tasks.pods.quantities import QuantityError, parse_bytes
from contrast_tasks.prepare.fitted import set_memory
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings

_MIB: Final = 1 << 20
# The least memory besides the images: for one process, and for Envoy, whose container declares none.
# Source: docs/internals/runtime.md 8.
_LEAST_BYTES: Final = 64 * _MIB
_MESH_BYTES: Final = 66 * _MIB
# Of the initializer, once it opens an encrypted volume and stays.
_INITIALIZER_BYTES: Final = (50 * _MIB, 100 * _MIB)


class ImageMemory(Record, kw_only=False):
    """What our own images take in a guest's memory, in MiB: unpacked, and while they are unpacked; 0 if they are elsewhere."""

    initializer_mib: int = 0
    service_mesh_mib: int = 0


NOT_IN_GUEST: Final = ImageMemory()


def image_memory(settings: Settings, lock: Lock) -> ImageMemory:
    """Return the memory of our images by the lock file; the reference product's images have figures of their release."""
    components = settings.components
    if components.are_reference or not platform(settings.platform).pulls_in_guest:
        return NOT_IN_GUEST
    return ImageMemory(
        locked_mib(lock, components.initializer), locked_mib(lock, components.service_mesh)
    )


def locked_mib(lock: Lock, reference: str) -> int:
    """Return the memory of one image in MiB, 0 for one that is not locked, which is reported elsewhere."""
    try:
        image = lock.resolve(reference)
    except ImageError:
        image = None
    return 0 if image is None else -(-sum(image_bytes([image])) // _MIB)


def check_memory_bound(
    document: Document,
    obj: Mapping[str, Any],
    images: Mapping[str, LockedImage],
    platform: Platform,
) -> list[Finding]:
    """Return an error if the images of a pod do not fit, or a warning if they do not fit together with its containers.

    obj: the prepared object. images: those of its containers, by reference. Missing or malformed limits are reported
    elsewhere; then nothing is returned.
    """
    subject = Subject(document, obj)
    bound = _bound(subject.spec, images, platform)
    if bound is None or bound.lacking <= 0:
        return []
    owner = subject.spec_path if bound.is_whole else (*subject.spec_path, "containers", 0)
    path = (*owner, "resources", "limits", "memory")
    have = f"the memory limits of the main containers are {_mebibytes(bound.limits)} in all"
    if bound.is_whole:
        have = f"the memory limit of the pod as a whole is {_mebibytes(bound.limits)}"
    wanted = _mebibytes(bound.needed)
    hint = (
        f"raise resources.limits.memory and resources.requests.memory by {_mebibytes(bound.lacking)},"
        " or set fit_memory = true in contrast.toml"
    )
    if bound.limits < bound.unpacked:
        message = (
            f"{have}, expected at least {wanted}: its images take {_mebibytes(bound.unpacked)} of the guest's"
            " memory when they are unpacked"
        )
        subject.report(catalogue.MEMORY_IMAGES, path, message, hint)
    else:
        message = f"{have}, expected at least {wanted} for what runs at the same time"
        if bound.unpacked:
            message += f" and {_mebibytes(bound.unpacked + bound.unpacking)} of images"
        subject.report(catalogue.MEMORY_BOUND, path, message, hint)
    return subject.findings


def raise_memory(
    obj: Mapping[str, Any],
    seen: Mapping[str, Any],
    images: Mapping[str, LockedImage],
    platform: Platform,
) -> None:
    """Raise the memory of the pod, or of its first container, to what `check_memory_bound` wants.

    seen: the object with what a LimitRange gives it.
    """
    spec = workloads.pod_spec(seen)
    bound = _bound(spec, images, platform)
    if bound is None or bound.lacking <= 0:
        return
    own = workloads.pod_spec(obj)
    holder = (
        own
        if bound.is_whole
        else next(item for _, item in workloads.mappings_at(own, "containers"))
    )
    first = next(item for _, item in workloads.mappings_at(spec, "containers"))
    present = bound.limits if bound.is_whole else _declared(first, "limits")
    set_memory(holder, _mebibytes(present + bound.lacking))


class _Bound(Record, kw_only=False):
    """What a guest has for its containers and what it needs, in bytes; is_whole: the limit is that of the pod."""

    limits: int
    is_whole: bool
    unpacked: int
    unpacking: int
    concurrent: int

    @property
    def needed(self) -> int:
        return self.unpacked + self.unpacking + self.concurrent

    @property
    def lacking(self) -> int:
        return self.needed - self.limits


def _bound(
    spec: Mapping[str, Any], images: Mapping[str, LockedImage], platform: Platform
) -> _Bound | None:
    """Return what is known of a pod's memory, None without limits."""
    try:
        main = [_declared(item, "limits") for _, item in workloads.mappings_at(spec, "containers")]
        whole = _declared(spec, "limits")
        concurrent = _concurrent_bytes(spec)
        sidecars = _sidecars(spec)
    except QuantityError:
        return None
    if not whole and not (main and all(main)):
        return None
    unpacked, unpacking = 0, 0
    if platform.pulls_in_guest:
        unpacked, unpacking = image_bytes(_in_memory(spec, images))
        concurrent = max(concurrent, _LEAST_BYTES + sidecars + _MESH_BYTES * _has_mesh(spec))
    return _Bound(whole or sum(main), bool(whole), unpacked, unpacking, concurrent)


def image_bytes(images: Iterable[LockedImage]) -> tuple[int, int]:
    """Return the unpacked size of images, with shared layers counted once, and the compressed size of the largest layer."""
    layers = {layer.diff_id: layer for image in images for layer in image.layers}
    return (
        sum(layer.unpacked_bytes for layer in layers.values()),
        max((layer.size_bytes for layer in layers.values()), default=0),
    )


def _in_memory(spec: Mapping[str, Any], images: Mapping[str, LockedImage]) -> Iterable[LockedImage]:
    """Return the images that are unpacked in memory: all, or that of the container which holds the store for the others."""
    for _, item in workloads.mappings_at(spec, "initContainers"):
        if item.get("name") == IMAGE_STORE:
            return [images[item["image"]]] if item.get("image") in images else []
    return images.values()


def _declared(container: Mapping[str, Any], *kinds: str) -> int:
    if container.get("name") in (INITIALIZER, SERVICE_MESH, IMAGE_STORE):
        # What these declare is for their images too, which are counted by themselves; Envoy is counted where that is done.
        is_initializer = container["name"] == INITIALIZER
        return _INITIALIZER_BYTES[_is_sidecar(container)] if is_initializer else 0
    resources = workloads.mapping_at(container, "resources")
    for kind in kinds:
        value = workloads.mapping_at(resources, kind).get("memory")
        if value is not None:
            return parse_bytes(value)
    return 0


def _has_mesh(spec: Mapping[str, Any]) -> bool:
    return any(
        item.get("name") == SERVICE_MESH
        for _, item in workloads.mappings_at(spec, "initContainers")
    )


def _is_sidecar(container: Mapping[str, Any]) -> bool:
    return container.get("restartPolicy") == "Always"


def _sidecars(spec: Mapping[str, Any]) -> int:
    init = (item for _, item in workloads.mappings_at(spec, "initContainers"))
    return sum(_declared(item, "limits", "requests") for item in init if _is_sidecar(item))


def _concurrent_bytes(spec: Mapping[str, Any]) -> int:
    """Return the most memory that init containers and sidecars declare for any one time."""
    init = [item for _, item in workloads.mappings_at(spec, "initContainers")]
    largest = max(
        (_declared(item, "limits", "requests") for item in init if not _is_sidecar(item)), default=0
    )
    return max(_sidecars(spec), largest)


def _mebibytes(size_bytes: int) -> str:
    return f"{-(-size_bytes // _MIB)}Mi"
