"""The costly step of one workload: prepared object, pinned images, derived policy.

Its result depends on nothing but the inputs digest, so it is shared between projects and runs through the cache.
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks import annotations, catalogue
from contrast_tasks.errors import GraphError
from contrast_tasks.findings import Finding, Findings, FindingsError, Severity, raise_errors
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.check_plain import check_plain
from contrast_tasks.kube.documents import Document, location
from contrast_tasks.manifest.entries import default_sans, default_secret_id
from contrast_tasks.manifest.hashes import policy_hash_hex
from contrast_tasks.platforms import platform
from contrast_tasks.prepare.memory import check_memory_bound
from contrast_tasks.prepare.workload import Components, prepare
from contrast_tasks.steps.documents import document_of, documents_of
from contrast_tasks.steps.images import image_sites, pin_images
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.paths import Spec
from contrast_tasks.steps.project import Project, open_project
from contrast_tasks.steps.resolve import resolve_images
from contrast_tasks.steps.work import (
    Head,
    Work,
    cache_directory,
    load_cached,
    read_head,
    read_work,
    render_work,
    save_cached,
    write_plain,
)

if TYPE_CHECKING:
    from contrast_tasks.policy.expectations import PolicyData


def derive_workload(project: Spec, workload: str) -> dict[str, Any]:
    """Bring .contrast/results/<workload> up to date; return its policy hash and whether that changed.

    Raises FindingsError with every finding of the workload if one is an error.
    """
    opened = open_project(project)
    entry = opened.index.workloads[workload]
    inputs = opened.inputs_of_workload(workload)
    path = opened.root / opened.paths.work(workload)
    before = _policy_before(path)
    directory = cache_directory(os.environ)
    content = load_cached(directory, inputs)
    if content is None:
        content = render_work(derive(opened, entry), inputs)
        save_cached(directory, inputs, content)
    write_plain(path, content)
    policy = read_head(path, inputs).policy_sha256
    return {
        "policy_sha256": policy,
        "wrote": [opened.paths.work(workload)] if policy != before else [],
    }


def _policy_before(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            inputs = stream.readline().split()[1].decode()
        return read_head(path, inputs).policy_sha256
    except (OSError, IndexError, ValueError, GraphError):
        return None


def derive(project: Project, workload: Workload) -> Work:
    """Return the result for one workload; raises FindingsError if a finding is an error."""
    document = document_of(project, workload)
    prepared = prepare(
        document,
        settings=project.settings,
        workload_settings=project.workload_settings(workload),
        runtime_class=project.runtime_class,
        components=Components(
            initializer_image=project.settings.components.initializer,
            service_mesh_image=project.settings.components.service_mesh,
        ),
        coordinator_namespace=project.coordinator_namespace,
    )
    findings, obj = list(prepared.findings), prepared.obj
    is_confidential = workloads.is_confidential_class(workloads.runtime_class(obj))
    images: dict[str, LockedImage] = {}
    if is_confidential:
        images, missing = resolve_images(project, document, obj)
        findings += missing
        if not missing:
            findings += check_memory_bound(
                document, obj, images, platform(project.settings.platform)
            )
    raise_errors(findings)
    policy = b""
    if is_confidential:
        obj = pin_images(obj, images)
        policy, more = _policy(project, workload, document, obj)
        findings += _not_said_already(project, more)
        raise_errors(findings)
        if not policy:
            raise FindingsError(findings)
    settings = project.workload_settings(workload)
    declared_id = settings.secret_id if settings is not None else None
    annotated_id = workloads.annotations(obj).get(annotations.WORKLOAD_SECRET_ID)
    head = Head(
        policy_sha256=policy_hash_hex(policy) if policy else "",
        sans=default_sans(document.name, settings.sans if settings is not None else ()),
        workload_secret_id=declared_id
        or annotated_id
        or default_secret_id(
            str(obj["apiVersion"]), workload.kind, workload.namespace, workload.name
        ),
        role=workloads.role(obj),
        findings=tuple(_relative(finding, document) for finding in findings),
    )
    return Work(head=head, obj=obj, policy=policy)


def _policy(
    project: Project, workload: Workload, document: Document, obj: Mapping[str, Any]
) -> tuple[bytes, list[Finding]]:
    """Return the policy's text, b"" if a finding is an error, and the findings at their lines."""
    from contrast_tasks.policy.text import render_policy

    try:
        expectations = _expectations(project, workload, document, obj)
    except FindingsError as error:
        return b"", list(error.findings)
    return render_policy(expectations), list(expectations.findings)


def _not_said_already(project: Project, findings: list[Finding]) -> list[Finding]:
    """Return the findings without absent ConfigMaps, when the checks over all sources fail themselves.

    They either name the absent ConfigMap at its line, or the file that cannot be read and may hold it.
    """
    if not any(finding.entry == catalogue.CONFIG_VALUE for finding in findings):
        return findings
    from contrast_tasks.steps.check import source_findings

    if not any(finding.severity is Severity.ERROR for finding in source_findings(project)):
        return findings
    return [finding for finding in findings if finding.entry != catalogue.CONFIG_VALUE]


def _expectations(
    project: Project, workload: Workload, document: Document, obj: Mapping[str, Any]
) -> "PolicyData":
    from contrast_tasks.policy.derive import derive as derive_policy
    from contrast_tasks.policy.profiles import KATA_QEMU
    from contrast_tasks.prepare.policy_input import image_facts, policy_input

    lock = project.lock() or Lock()
    images = {
        reference: image_facts(found, reference)
        for _, reference in image_sites(obj)
        if (found := lock.resolve(reference)) is not None
    }
    given = policy_input(
        obj,
        images=images,
        configs=_configs(project, workload),
        service_account_automount=_automounts(project, workload, obj),
    )
    findings = Findings(partial(location, document), workloads.workload_key(document.obj))
    return derive_policy(given, KATA_QEMU, findings)


def policy_of(project: Project, workload: Workload) -> tuple[bytes, "PolicyData"]:
    """Return the published policy of a workload and the expectations it was made from.

    Raises GraphError if `generate` has not run since the sources changed.
    """
    path = project.root / project.paths.work(workload.id)
    try:
        work = read_work(path, project.inputs_of_workload(workload.id))
    except GraphError as error:
        message = f"{workload.key} has no policy of the sources and settings as they are now"
        raise GraphError(message, hint="run 'contrast-tasks generate' first") from error
    expectations = _expectations(project, workload, document_of(project, workload), work.obj)
    return work.policy, expectations


def _configs(
    project: Project, workload: Workload
) -> dict[tuple[str, str | None, str], dict[str, str | bytes]]:
    """Return the data of the ConfigMaps and Secrets a workload names, under the namespace it writes itself."""
    found: dict[tuple[str, str | None, str], dict[str, str | bytes]] = {}
    for kind, namespace, name in workload.configs:
        place = project.index.places.get((kind, namespace, name))
        if place is not None:
            file, position = place
            document = documents_of(project, file)[position]
            # The check of the sources says the same; values that cannot be read give no policy.
            raise_errors(check_plain(document))
            found[kind, workload.namespace or None, name] = config_data(document.obj)
    return found


def config_data(obj: Mapping[str, Any]) -> dict[str, str | bytes]:
    """Return the entries of a ConfigMap or Secret; base64 is decoded, and stringData wins over data, as in Kubernetes."""
    data: dict[str, str | bytes] = {}
    encoded = "data" if obj["kind"] == "Secret" else "binaryData"
    for key, value in workloads.mapping_at(obj, encoded).items():
        if isinstance(value, str):
            data[key] = base64.b64decode(value)
    plain = "stringData" if obj["kind"] == "Secret" else "data"
    entries = workloads.mapping_at(obj, plain).items()
    return data | {key: value for key, value in entries if isinstance(value, str)}


def service_account(obj: Mapping[str, Any]) -> str:
    """Return the name of the pod's ServiceAccount; `serviceAccount` is the deprecated alias."""
    spec = workloads.pod_spec(obj)
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def _automounts(project: Project, workload: Workload, obj: Mapping[str, Any]) -> bool:
    """Return False if the pod's ServiceAccount is among the sources and says that no token is mounted."""
    name = service_account(obj)
    place = project.index.places.get(("ServiceAccount", workload.namespace or "default", name))
    if place is None:
        return True
    file, position = place
    account = documents_of(project, file)[position].obj
    return account.get("automountServiceAccountToken") is not False


def _relative(finding: Finding, document: Document) -> Mapping[str, Any]:
    """Return a finding with its line counted from the document's first and without the file.

    One in the settings keeps file and pointer; the line is looked up when it is shown.
    """
    where = finding.where
    if where.file != document.file:
        return replace(finding, where=where.replace(line=None)).to_json()
    line = None if where.line is None else where.line - document.line + 1
    return replace(finding, where=where.replace(file="", line=line)).to_json()
