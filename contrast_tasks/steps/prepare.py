"""A workload as it will be deployed: its document with settings, injected containers and locked images."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import ImageError
from contrast_tasks.findings import Finding
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.documents import Document, decode, kept_documents, location
from contrast_tasks.platforms import is_confidential_class, platform
from contrast_tasks.prepare.coordinator import coordinator_of
from contrast_tasks.prepare.fitted import cover_image_volumes
from contrast_tasks.prepare.images import resolve_images
from contrast_tasks.prepare.limit_ranges import NO_RANGES, LimitRanges
from contrast_tasks.prepare.memory import (
    check_memory_bound,
    image_memory,
    locked_mib,
    raise_memory,
)
from contrast_tasks.prepare.replacements import replace_images
from contrast_tasks.prepare.workload import prepare
from contrast_tasks.records import Record
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.index import COORDINATOR_SOURCE, Workload, read_source
from contrast_tasks.steps.project import Project

_parsed: dict[tuple[str, str], Sequence[Document]] = {}
_PARSED_AT_MOST = 8


class PreparedWorkload(Record, kw_only=False):
    """The document as written, and the object made of it.

    images: by reference, {} if it gets no policy. is_whole: whether a policy can be derived of the object, so that findings
    of the derivation say something; only without an error among `findings` it may be written.
    """

    document: Document
    obj: dict[str, Any]
    images: Mapping[str, LockedImage]
    findings: list[Finding]
    is_confidential: bool
    is_whole: bool


def prepare_workload(project: Project, workload: Workload, lock: Lock) -> PreparedWorkload:
    """Return one workload prepared, also if a finding is an error."""
    settings = project.settings
    document = document_of(project, workload, lock)
    # Those of the injected containers follow, which the settings name.
    document = document.replace(obj=replace_images(document.obj, project.replacements))
    ranges = limit_ranges(project, workload, lock)
    prepared = prepare(
        document,
        settings=settings,
        runtime_class=project.runtime_class,
        coordinator_namespace=project.coordinator_namespace,
        memory=image_memory(settings, lock),
        ranges=ranges,
    )
    findings, obj = list(prepared.findings), replace_images(prepared.obj, project.replacements)
    is_confidential = is_confidential_class(workloads.runtime_class(obj))
    images: dict[str, LockedImage] = {}
    if is_confidential:
        is_ours = workload.file == COORDINATOR_SOURCE
        images, missing = resolve_images(
            document,
            obj,
            lock,
            settings,
            is_ours=is_ours,
            why_not_locked=partial(_why_not_locked, settings),
        )
        findings += missing
        where = platform(settings.platform)
        own = project.workload_settings(workload)
        if own is not None and prepared.is_whole:
            if own.image_volumes == "emptyDir":
                cover_image_volumes(obj, images)
            if own.fit_memory and not missing:
                raise_memory(obj, ranges.admitted(obj), images, where)
        if not missing:
            findings += check_memory_bound(document, ranges.admitted(obj), images, where)
    for path, message in ranges.violations(obj):
        from contrast_tasks.kube.origins import origin

        place = location(document, origin(path, obj, document.obj))
        key = workloads.workload_key(obj)
        findings.append(Finding(catalogue.LIMIT_RANGE, place, f"{key}: {message}"))
    return PreparedWorkload(document, obj, images, findings, is_confidential, prepared.is_whole)


def _why_not_locked(settings: Settings, reference: str) -> ImageError | None:
    from contrast_tasks.steps.lock import why_not_locked

    return why_not_locked(settings, reference)


def limit_ranges(project: Project, workload: Workload, lock: Lock) -> LimitRanges:
    """Return the LimitRanges of a workload's namespace."""
    places = [project.index.places[use] for use in project.namespaces.ranges(workload)]
    if not places:
        return NO_RANGES
    return LimitRanges(documents_of(project, file, lock)[position].obj for file, position in places)


def document_of(project: Project, workload: Workload, lock: Lock) -> Document:
    """Return the document of a workload."""
    return documents_of(project, workload.file, lock)[workload.position]


def documents_of(project: Project, file: str, lock: Lock) -> Sequence[Document]:
    """Return the documents of a source; the last few files stay parsed, since their workloads come one by one."""
    source = project.sources[file]
    name, text = (file, source.digest), None
    if file == COORDINATOR_SOURCE:
        # Its memory depends on the lock file too.
        text = _coordinator_as_deployed(project.settings, lock)
        name = (file, text)
    documents = _parsed.get(name)
    if documents is None:
        text = text or decode(read_source(project.settings, source), file)
        # Of a file with a broken document too: its other workloads are checked, and nothing is written.
        documents, _ = kept_documents(text, file)
        while len(_parsed) >= _PARSED_AT_MOST:
            del _parsed[next(iter(_parsed))]
        _parsed[name] = documents
    return documents


def _coordinator_as_deployed(settings: Settings, lock: Lock) -> str:
    """Return our Coordinator with memory for its image if it is unpacked inside the guest."""
    image_mib = 0
    if platform(settings.platform).pulls_in_guest:
        image_mib = locked_mib(lock, settings.components.coordinator)
    return coordinator_of(settings, image_mib=image_mib)
