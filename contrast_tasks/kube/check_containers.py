"""Checks on containers: names and images (G010, G011, G100), memory (G030, G031).

Source: docs/internals/generate.md 6 and 10.1; docs/internals/runtime.md 8.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from contrast_tasks import catalogue
from contrast_tasks.findings import Finding
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.quantities import QuantityError, likely_bytes, parse_bytes, parse_quantity
from contrast_tasks.pods.references import is_digest
from contrast_tasks.pointers import Path

_KINDS: Final = ("initContainers", "containers")


def is_pinned(reference: str) -> bool:
    """Return whether an image reference names its content by digest."""
    return is_digest(reference.partition("@")[2])


def check_images(document: Document, is_resolved: Callable[[str], bool]) -> list[Finding]:
    """Return a G010 finding for each container image that is neither pinned nor resolved.

    is_resolved: whether the lock file has a digest for a reference.
    """
    subject = Subject(document, document.obj)
    for path, container in containers(subject):
        image = container.get("image")
        if isinstance(image, str) and image and not is_pinned(image) and not is_resolved(image):
            subject.report(
                catalogue.IMAGE_NOT_PINNED,
                (*path, "image"),
                f"container {container.get('name')} has the image {image}, expected one with a digest"
                " or an entry in the lock file",
            )
    return subject.findings


def containers(subject: Subject) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield (path, container) of the init containers and the main containers."""
    for kind in _KINDS:
        for number, container in workloads.mappings_at(subject.spec, kind):
            yield (*subject.spec_path, kind, number), container


def check_identity(subject: Subject) -> None:
    """Report containers without name or image, and duplicate names."""
    if not any(workloads.mappings_at(subject.spec, "containers")):
        subject.report(
            catalogue.NO_CONTAINER,
            (*subject.spec_path, "containers"),
            "found no container, expected at least one",
        )
    seen: set[str] = set()
    for path, container in containers(subject):
        name = container.get("name")
        for key, entry in (
            ("name", catalogue.CONTAINER_NAME),
            ("image", catalogue.CONTAINER_IMAGE),
        ):
            value = container.get(key)
            if not isinstance(value, str) or not value:
                label = f"container {name}" if key == "image" and name else "a container"
                found = "has no" if value in (None, "") else f"has {value!r} as"
                subject.report(
                    entry,
                    path if value is None else (*path, key),
                    f"{label} {found} {key}, expected a string",
                )
        if isinstance(name, str) and name in seen:
            subject.report(
                catalogue.CONTAINER_CLASH,
                (*path, "name"),
                f"found a second container {name}, expected unique names in a pod",
            )
        seen.add(str(name))


def check_memory(subject: Subject) -> None:
    """Report memory limits that are missing, have no effect, or differ from the request.

    With a limit of the pod as a whole (Kubernetes 1.34) the containers need none.
    """
    has_whole = _check_whole(subject)
    for path, container in containers(subject):
        name = container.get("name")
        limit = _amount(subject, path, f"container {name}", container, "limits")
        request = _amount(subject, path, f"container {name}", container, "requests")
        place = (*path, "resources")
        if "initContainers" in path:
            if limit is not None:
                kind = "sidecar" if container.get("restartPolicy") == "Always" else "init container"
                subject.report(
                    catalogue.MEMORY_LIMIT_IGNORED,
                    (*place, "limits", "memory"),
                    f"{kind} {name} has the memory limit {limit}, which does not enlarge the guest",
                )
        elif has_whole and limit is None:
            continue
        elif limit is None or _size(limit) == 0:
            found = "no memory limit" if request is None else f"the request {request} and no limit"
            spot: Path = (*place, "requests", "memory") if request else place
            if limit is not None:
                found = f"the memory limit {limit}, which means no limit"
                spot = (*place, "limits", "memory")
            has_request = bool(request and _size(request))
            wanted = request if has_request else "700Mi"
            # The default is for containers that say nothing.
            table = f'[workloads."{subject.key}"]' if has_request else "[defaults]"
            answer: tuple[str, Any] = ("fit_memory", True)
            if not has_request:
                answer = ("memory" if limit is None else f"containers.{name}.memory", "700Mi")
            subject.report(
                catalogue.MEMORY_LIMIT,
                spot,
                f"container {name} has {found}, expected limit and request of the same value",
                f"set resources.limits.memory and resources.requests.memory to {wanted}"
                + f', or memory = "{wanted}" under {table} in contrast.toml' * (limit is None),
                answer=answer,
            )
        else:
            _check_request(subject, place, f"container {name}", request, limit)


def _check_whole(subject: Subject) -> bool:
    """Return whether the pod as a whole has a memory limit, and report a request that is not the same."""
    limit = _amount(subject, subject.spec_path, "the pod", subject.spec, "limits")
    request = _amount(subject, subject.spec_path, "the pod", subject.spec, "requests")
    if limit is None or _size(limit) == 0:
        return False
    _check_request(subject, (*subject.spec_path, "resources"), "the pod", request, limit)
    return True


def _check_request(subject: Subject, place: Path, owner: str, request: Any, limit: Any) -> None:
    # A malformed limit is reported as such too.
    wanted = likely_bytes(limit) if _is_malformed(limit) else limit
    if request is None:
        subject.report(
            catalogue.MEMORY_REQUEST,
            (*place, "limits", "memory"),
            f"{owner} has the memory limit {limit} and no request, expected both",
            f"set resources.requests.memory to {wanted}",
        )
    elif _size(request) != _size(limit):
        subject.report(
            catalogue.MEMORY_REQUEST_DIFFERS,
            (*place, "requests", "memory"),
            f"{owner} has the memory request {request} and the limit {limit}, expected the same value",
            f"set both to {wanted}, or fit_memory = true under [defaults] in contrast.toml",
        )


def _limits(holder: dict[str, Any], kind: str) -> dict[str, Any]:
    return workloads.mapping_at(workloads.mapping_at(holder, "resources"), kind)


def _amount(subject: Subject, path: Path, owner: str, holder: dict[str, Any], kind: str) -> Any:
    value = _limits(holder, kind).get("memory")
    if value is None:
        return None
    try:
        parse_bytes(value)
    except QuantityError as err:
        subject.report(
            catalogue.MEMORY_QUANTITY,
            (*path, "resources", kind, "memory"),
            f"{owner}: {err} in resources.{kind}.memory",
            err.hint,
            answer=("remove", ["resources"])
            if holder is subject.spec
            else (f"containers.{holder.get('name')}.memory", likely_bytes(value)),
        )
    return value


def _is_malformed(value: Any) -> bool:
    try:
        parse_quantity(value)
    except QuantityError:
        return True
    return False


def _size(value: Any) -> Any:
    try:
        return parse_quantity(value)
    except QuantityError:
        # `_amount` reports it; two malformed values are equal only if they are the same text.
        return value
