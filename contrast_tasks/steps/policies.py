"""The costly step of one workload: prepared object, pinned images, derived policy.

Its result depends on nothing but what `tasks.inputs` names, so it may be shared between projects.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.findings import Finding, Findings, FindingsError, Severity, raise_errors
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_plain import check_plain
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.kube.origins import origin
from contrast_tasks.kube.processors import vcpus_of
from contrast_tasks.kube.workloads import config_data
from contrast_tasks.manifest.entries import default_sans, default_secret_id
from contrast_tasks.manifest.hashes import policy_hash_hex
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.platforms import platform
from contrast_tasks.pointers import Path
from contrast_tasks.prepare.images import image_sites, pin_images
from contrast_tasks.releases.table import Channel
from contrast_tasks.steps.index import CLAIM, Workload
from contrast_tasks.steps.prepare import (
    document_of,
    documents_of,
    limit_ranges,
    prepare_workload,
)
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Head, Work

# Source: Kubernetes, apimachinery, api/validation: TotalAnnotationSizeLimitB.
_ANNOTATION_BYTES = 256 * 1024
_IMAGE_ABSENT = frozenset(
    {catalogue.IMAGE_NOT_LOCKED, catalogue.IMAGE_NOT_PINNED, catalogue.IMAGE_REFERENCE}
)
_OF_ABSENT_IMAGE = frozenset({catalogue.IMAGE_FACTS, catalogue.IMAGE_NOT_PINNED})

if TYPE_CHECKING:
    from contrast_tasks.policy.expectations import PolicyData


def derive(
    project: Project, workload: Workload, lock: Lock, *, sources_fail: Callable[[], bool]
) -> Work:
    """Return the result for one workload.

    sources_fail: whether the checks over all sources find an error; asked only if it matters.
    Raises FindingsError with the findings of the preparation and of the policy if one of them is an error.
    """
    prepared = prepare_workload(project, workload, lock)
    document, obj, findings = prepared.document, prepared.obj, prepared.findings
    is_confidential = prepared.is_confidential
    policy = b""
    if is_confidential and prepared.is_whole:
        obj = pin_images(obj, prepared.images)
        expectations, more = _expectations(project, workload, lock, obj)
        if any(finding.entry == catalogue.CONFIG_VALUE for finding in more) and sources_fail():
            # Those checks name the absent ConfigMap at its line, or the file that cannot be read and may hold it.
            more = [finding for finding in more if finding.entry != catalogue.CONFIG_VALUE]
        findings += _unsaid(more, findings)
        raise_errors(findings)
        if expectations is None:
            raise FindingsError(findings)
        policy = _rendered(expectations)
    raise_errors(findings)
    settings = project.workload_settings(workload)
    declared_id = settings.secret_id if settings is not None else None
    annotated_id = workloads.annotations(obj).get(annotations.WORKLOAD_SECRET_ID)
    document_of_policy = make_document(policy, project.settings.channel) if policy else b""
    if policy:
        size = _annotation_bytes(obj, document_of_policy, project.settings.channel)
        if size > _ANNOTATION_BYTES:
            place = location(document, workloads.template_path(document.obj))
            message = (
                f"{workloads.workload_key(obj)} gets annotations of {size:,} bytes, expected at most"
                f" {_ANNOTATION_BYTES:,}; most of them are its policy"
            )
            raise FindingsError(
                [*findings, Finding(catalogue.ANNOTATIONS_TOO_LARGE, place, message)]
            )
    head = Head(
        policy_sha256=policy_hash_hex(document_of_policy) if policy else "",
        sans=default_sans(document.name, settings.sans if settings is not None else ()),
        workload_secret_id=declared_id
        or annotated_id
        or default_secret_id(
            str(obj["apiVersion"]), workload.kind, workload.namespace, workload.name
        ),
        role=workloads.role(obj),
        vcpus=_vcpus(project, workload, lock, obj) if is_confidential else 1,
        findings=tuple(_relative(finding, document) for finding in findings),
    )
    return Work(head=head, obj=obj, policy=policy)


def _annotation_bytes(obj: Mapping[str, Any], document: bytes, channel: Channel) -> int:
    """Return the size of the pod's annotations with its policy, as the API server counts: names and values."""
    key, value = annotation_of(document, channel)
    given = {**workloads.annotations(obj), key: value}
    return sum(len(name.encode()) + len(text.encode()) for name, text in given.items())


def _vcpus(project: Project, workload: Workload, lock: Lock, obj: dict[str, Any]) -> int:
    settings = project.settings
    if settings.release.id_blocks_on(settings.platform) is None:
        return 1
    return vcpus_of(workloads.pod_spec(limit_ranges(project, workload, lock).admitted(obj)))


def _expectations(
    project: Project, workload: Workload, lock: Lock, obj: dict[str, Any]
) -> "tuple[PolicyData | None, list[Finding]]":
    """Return what the policy is made of, None if a finding is an error, and the findings at their lines."""
    try:
        expectations = expectations_of(project, workload, lock, obj)
    except FindingsError as error:
        return None, list(error.findings)
    return expectations, list(expectations.findings)


def _rendered(expectations: "PolicyData") -> bytes:
    from contrast_tasks.policy.text import render_policy

    return render_policy(expectations)


def _unsaid(found: Iterable[Finding], said: Iterable[Finding]) -> list[Finding]:
    """Return the findings of the derivation but for what the preparation has an error for already.

    The two have the same code for the same fault, at the same place or around it. An image without an entry in the lock file
    is one fault, wherever it is written.
    """
    errors = [finding for finding in said if finding.severity is Severity.ERROR]
    lacks_image = any(finding.entry in _IMAGE_ABSENT for finding in errors)
    return [
        finding
        for finding in found
        if not any(_is_around(each, finding) for each in errors)
        and not (lacks_image and finding.entry in _OF_ABSENT_IMAGE)
    ]


def _is_around(outer: Finding, inner: Finding) -> bool:
    if outer.code != inner.code or outer.where.file != inner.where.file:
        return False
    place = outer.where.pointer
    return inner.where.pointer == place or inner.where.pointer.startswith(f"{place}/")


def expectations_of(
    project: Project, workload: Workload, lock: Lock, obj: dict[str, Any]
) -> "PolicyData":
    """Return what a workload's policy is made of; obj: prepared, with its images pinned.

    Raises FindingsError with all findings if at least one is an error.
    """
    from contrast_tasks.policy.derive import expect
    from contrast_tasks.policy.profiles import profile_of
    from contrast_tasks.prepare.policy_input import image_facts, policy_input

    images = {
        reference: image_facts(found, reference)
        for _, reference in image_sites(obj)
        if (found := _locked(lock, reference)) is not None
    }
    given = policy_input(
        limit_ranges(project, workload, lock).admitted(obj),
        images=images,
        configs=_configs(project, workload, lock),
        claims=_claims(project, workload, lock),
        service_account_automount=_automounts(project, workload, lock),
        services=project.namespaces.services(workload),
    )
    document = document_of(project, workload, lock)

    def locate(path: Path) -> Location:
        return location(document, origin(path, obj, document.obj))

    findings = Findings(locate, workloads.workload_key(document.obj))
    settings = project.settings
    profile = profile_of(settings.release, platform(settings.platform))
    broken = _broken_configs(project, workload, lock)
    expectations = expect(given, profile, findings)
    raise_errors((*broken, *expectations.findings))
    return expectations


def _locked(lock: Lock, reference: str) -> LockedImage | None:
    try:
        return lock.resolve(reference)
    except ImageError:
        # The preparation says that it is malformed.
        return None


def _used(project: Project, workload: Workload, lock: Lock) -> dict[tuple[str, str, str], Document]:
    """Return the documents among the sources that a workload takes values from, by (kind, namespace, name)."""
    found = {}
    for use in project.namespaces.uses(workload):
        if use in project.index.places:
            file, position = project.index.places[use]
            found[use] = documents_of(project, file, lock)[position]
    return found


def objects_used(project: Project, workload: Workload, lock: Lock) -> list[dict[str, Any]]:
    """Return the objects among the sources that a workload takes values from, but Services."""
    return [document.obj for document in _used(project, workload, lock).values()]


def _configs(
    project: Project, workload: Workload, lock: Lock
) -> dict[tuple[str, str | None, str], dict[str, str | bytes]]:
    """Return the data of the ConfigMaps and Secrets a workload names, under the namespace it writes itself.

    One with an error has no usable data, and counts as absent.
    """
    found: dict[tuple[str, str | None, str], dict[str, str | bytes]] = {}
    for (kind, _, name), document in _used(project, workload, lock).items():
        if kind in ("ConfigMap", "Secret") and not _errors_in(document):
            found[kind, workload.namespace or None, name] = config_data(document.obj)
    return found


def _broken_configs(project: Project, workload: Workload, lock: Lock) -> list[Finding]:
    """Return the errors in the ConfigMaps and Secrets a workload names; without their values there is no policy."""
    used = _used(project, workload, lock).items()
    return [
        finding
        for (kind, _, _), document in used
        if kind in ("ConfigMap", "Secret")
        for finding in _errors_in(document)
    ]


def _errors_in(document: Document) -> list[Finding]:
    return [finding for finding in check_plain(document) if finding.severity is Severity.ERROR]


def _claims(project: Project, workload: Workload, lock: Lock) -> dict[str, str]:
    """Return the volumeMode of each claim among the sources that a workload names."""
    return {
        name: workloads.volume_mode(document.obj)
        for (kind, _, name), document in _used(project, workload, lock).items()
        if kind == CLAIM
    }


def _automounts(project: Project, workload: Workload, lock: Lock) -> bool:
    """Return False if the pod's ServiceAccount is among the sources and forbids mounting the token."""
    accounts = [
        document.obj
        for (kind, _, _), document in _used(project, workload, lock).items()
        if kind == "ServiceAccount"
    ]
    return all(account.get("automountServiceAccountToken") is not False for account in accounts)


def _relative(finding: Finding, document: Document) -> Mapping[str, Any]:
    """Return a finding without the file, and with its line counted from the document's first.

    One in the settings keeps file and pointer; the line is looked up when it is shown.
    """
    where = finding.where
    if where.file != document.file:
        return finding.replace(where=where.replace(line=None)).to_json()
    line = None if where.line is None else where.line - document.line + 1
    return finding.replace(where=where.replace(file="", line=line)).to_json()
