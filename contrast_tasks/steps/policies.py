"""The costly step of one workload: prepared object, pinned images, derived policy.

Its result depends on nothing but what `tasks.inputs` names, so it may be shared between projects.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.annotations import ID_PREFIXES
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.findings import Finding, Findings, FindingsError, Severity, raise_errors
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_plain import check_plain
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.kube.processors import vcpus_of
from contrast_tasks.kube.sizes import LIMIT_BYTES, annotation_bytes, applied_bytes
from contrast_tasks.kube.workloads import config_data
from contrast_tasks.manifest.entries import default_sans, default_secret_id
from contrast_tasks.manifest.hashes import policy_hash_hex
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.platforms import platform
from contrast_tasks.pointers import Path
from contrast_tasks.prepare.encrypted import PREFIX as DECRYPTED
from contrast_tasks.prepare.encrypted import claims_of
from contrast_tasks.prepare.images import image_sites, pin_images
from contrast_tasks.steps.ignored import forgiven
from contrast_tasks.steps.index import CLAIM, Workload
from contrast_tasks.steps.prepare import (
    PreparedWorkload,
    document_of,
    documents_of,
    limit_ranges,
    prepare_workload,
)
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Head, Work

# What an ID block, its signatures and the guest policy take as text, at most; they are made when outputs are written.
_ID_BLOCK_BYTES = 128 + 5464 + 20
_IMAGE_ABSENT = frozenset(
    {catalogue.IMAGE_NOT_LOCKED, catalogue.IMAGE_NOT_PINNED, catalogue.IMAGE_REFERENCE}
)
_OF_ABSENT_IMAGE = frozenset({catalogue.IMAGE_FACTS, catalogue.IMAGE_NOT_PINNED})

if TYPE_CHECKING:
    from contrast_tasks.policy.expectations import PolicyData
    from contrast_tasks.policy.model import Elsewhere
    from contrast_tasks.policy.rules import CompactRules


def derive(
    project: Project,
    workload: Workload,
    lock: Lock,
    *,
    rules: "CompactRules",
    sources_fail: Callable[[], bool],
) -> Work:
    """Return the result for one workload.

    rules: what returns the rules as policies contain them.
    sources_fail: whether the checks over all sources find an error; asked only if it matters.
    Raises FindingsError with the findings of the preparation and of the policy if one of them is an error.
    """
    prepared = prepare_workload(project, workload, lock)
    document, obj = prepared.document, prepared.obj
    findings = forgiven(prepared.findings, project.settings)
    is_confidential = prepared.is_confidential
    policy = document_of_policy = b""
    if is_confidential and prepared.is_whole:
        obj = pin_images(obj, prepared.images)
        expectations, more = expectations_of(project, workload, lock, obj)
        is_partial = any(finding.severity is Severity.ERROR for finding in more)
        if any(finding.entry == catalogue.CONFIG_ABSENT for finding in more) and sources_fail():
            # Those checks name the absent ConfigMap at its line, or the file that cannot be read and may hold it.
            more = [finding for finding in more if finding.entry != catalogue.CONFIG_ABSENT]
        findings += _unsaid(more, findings)
        if not is_partial or _lacks_only_facts(more):
            policy = _rendered(expectations, rules)
            document_of_policy = make_document(policy, project.settings.channel)
            findings += _size_findings(project, prepared, document_of_policy, findings)
        raise_errors(findings)
        if is_partial:
            raise FindingsError(findings)
    raise_errors(findings)
    settings = project.workload_settings(workload)
    declared_id = settings.secret_id if settings is not None else None
    annotated_id = workloads.annotations(obj).get(annotations.WORKLOAD_SECRET_ID)
    head = Head(
        policy_sha256=policy_hash_hex(document_of_policy) if policy else "",
        sans=default_sans(document.name, settings.sans if settings is not None else ()),
        workload_secret_id=declared_id
        or annotated_id
        or default_secret_id(
            str(obj["apiVersion"]), workload.kind, workload.namespace, workload.name
        ),
        role=workloads.role(obj),
        policy_bytes=len(document_of_policy),
        vcpus=_vcpus(project, workload, lock, obj) if is_confidential else 1,
        findings=tuple(_relative(finding, document) for finding in findings),
    )
    return Work(head=head, obj=obj, policy=policy)


def _size_findings(
    project: Project, prepared: PreparedWorkload, policy_document: bytes, said: Iterable[Finding]
) -> list[Finding]:
    """Return the finding on a pod whose annotations the API server refuses once it has its policy.

    said: one on the annotations without a policy is enough.
    """
    settings = project.settings
    key, value = annotation_of(policy_document, settings.channel)
    own = workloads.mapping_at(workloads.pod_metadata(prepared.obj), "annotations")
    size = annotation_bytes(own) + len(key) + len(value)
    if settings.release.id_blocks_on(settings.platform) is not None:
        for product in platform(settings.platform).products:
            size += sum(len(prefix + product) for prefix in ID_PREFIXES) + _ID_BLOCK_BYTES
    is_said = any(finding.entry == catalogue.ANNOTATIONS_TOO_LARGE for finding in said)
    place = location(prepared.document, workloads.template_path(prepared.document.obj))
    if size <= LIMIT_BYTES // 2 or is_said:
        return []
    if size <= LIMIT_BYTES:
        applied = applied_bytes(prepared.obj, value)
        message = (
            f"{workloads.workload_key(prepared.obj)} would get annotations of {applied:,} bytes by a kubectl apply that notes the"
            f" object in one, expected at most {LIMIT_BYTES:,}"
        )
        return (
            [Finding(catalogue.APPLIED_TOO_LARGE, place, message)] if applied > LIMIT_BYTES else []
        )
    message = (
        f"{workloads.workload_key(prepared.obj)} gets annotations of {size:,} bytes, expected at most {LIMIT_BYTES:,};"
        f" its policy has {len(value):,} of them"
    )
    return [Finding(catalogue.ANNOTATIONS_TOO_LARGE, place, message)]


def _lacks_only_facts(found: Iterable[Finding]) -> bool:
    """Return whether all errors are on facts of images, without which a policy is smaller, but complete otherwise."""
    return all(
        finding.entry == catalogue.IMAGE_FACTS
        for finding in found
        if finding.severity is Severity.ERROR
    )


def _vcpus(project: Project, workload: Workload, lock: Lock, obj: dict[str, Any]) -> int:
    settings = project.settings
    if settings.release.id_blocks_on(settings.platform) is None:
        return 1
    return vcpus_of(workloads.pod_spec(limit_ranges(project, workload, lock).admitted(obj)))


def _rendered(expectations: "PolicyData", rules: "CompactRules") -> bytes:
    from contrast_tasks.policy.text import render_policy

    return render_policy(expectations, rules)


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
) -> "tuple[PolicyData, list[Finding]]":
    """Return what a workload's policy is made of, and all findings; obj: prepared, with its images pinned.

    With an error among the findings it is incomplete and must not become a policy.
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
        elsewhere=_elsewhere(project, workload),
        claims={
            **_claims(project, workload, lock),
            # As they are written to the output.
            **dict.fromkeys(claims_of(obj), "Block"),
        },
        service_account_automount=_automounts(project, workload, lock),
        services=project.namespaces.services(
            workload, {entry.partition("=")[0] for image in images.values() for entry in image.env}
        ),
    )
    document = document_of(project, workload, lock)

    def locate(path: Path) -> Location:
        from contrast_tasks.kube.origins import origin

        return location(document, origin(path, obj, document.obj))

    def field(path: Path) -> str:
        steps = workloads.field_name(obj, path).split(".")
        # As the source has it.
        return ".".join(step.removeprefix(DECRYPTED) for step in steps)

    findings = Findings(locate, workloads.workload_key(document.obj), field)
    settings = project.settings
    profile = profile_of(settings.release, platform(settings.platform))
    broken = _broken_configs(project, workload, lock)
    expectations = expect(given, profile, findings)
    return expectations, [*broken, *expectations.findings]


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
    """Return the objects that a workload takes values from, but Services; for those made elsewhere examples."""
    used = [document.obj for document in _used(project, workload, lock).values()]
    wanted = dict(workloads.config_keys(document_of(project, workload, lock).obj))
    for (kind, _, name), made in _elsewhere(project, workload).items():
        keys = {*made.keys, *wanted.get((kind, name), ())}
        data = {**dict.fromkeys(sorted(keys), "elsewhere"), **made.values}
        used.append(workloads.config_object(kind, workload.namespace, name, data))
    return used


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


def _elsewhere(
    project: Project, workload: Workload
) -> dict[tuple[str, str | None, str], "Elsewhere"]:
    """Return what is declared of the ConfigMaps and Secrets a workload names that are not among the sources."""
    from contrast_tasks.policy.model import Elsewhere

    return {
        (kind, workload.namespace or None, name): Elsewhere(keys=made.keys, values=made.values)
        for kind, namespace, name in project.namespaces.uses(workload)
        if (kind, namespace, name) not in project.index.places
        and (made := project.settings.config(kind, namespace, name)) is not None
    }


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
