"""The checks of all results, before anything is written.

`check_sources` looks at the sources as a whole and runs even when a workload failed, so that one run reports everything.
`check_project` looks at the results, composes the manifest and validates it; build/check.json tells what was found.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks import catalogue
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.errors import GraphError, ImageError, Location
from contrast_tasks.files import sha256_hex
from contrast_tasks.findings import Finding, raise_errors, sort_key
from contrast_tasks.platforms import HANDLER_PREFIX
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.records import Record
from contrast_tasks.steps.ignored import refused, without_ignored
from contrast_tasks.steps.index import SourceFile
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Head, shown

if TYPE_CHECKING:
    from contrast_tasks.kube.index import FileIndex
    from contrast_tasks.steps.keys import PublicKeys

VERSION = 1
# Findings that hold whatever an unreadable file may contain.
_CERTAIN = frozenset(
    {
        catalogue.ANNOTATION_PLACE,
        catalogue.ANNOTATION_RELEASE,
        catalogue.ANNOTATION_VALUE,
        catalogue.COMPONENT_VERSION,
        catalogue.DUPLICATE,
        catalogue.FIELD_TYPE,
        catalogue.FOREIGN_PODS,
        catalogue.IGNORE_REFUSED,
        catalogue.MESH_INGRESS_ABSENT,
        catalogue.NOT_CONFIDENTIAL,
        catalogue.RELEASE_ASSUMED,
        catalogue.ROLE_PLACE,
        catalogue.RUNTIME_CLASS_UNKNOWN,
        catalogue.UNKNOWN_ANNOTATION,
        catalogue.UNSUPPORTED,
    }
)

ReadFacts = Callable[[SourceFile], "FileIndex"]


def source_findings(project: Project, read_facts: ReadFacts) -> list[Finding]:
    """Return the findings about the sources as a whole: unreadable files, duplicates, workloads that settings name."""
    from contrast_tasks.prepare.workload import check_sources as check_indexes

    index = project.index
    broken = [*index.findings]
    for source in index.files:
        broken.extend(source.findings)
    found = [
        *_confidential(project),
        *refused(project.settings),
        *_runtime_class(project),
        *_not_pushed(project),
        *check_indexes([read_facts(source) for source in index.files], project.settings),
    ]
    if broken:
        # An object that seems to be missing may be in the file that cannot be read.
        found = [
            _doubted(finding)
            for finding in found
            if finding.entry in {*_CERTAIN, catalogue.CONFIG_NOT_IN_SOURCES}
        ]
    return broken + found


def _doubted(finding: Finding) -> Finding:
    """Return a finding on a missing object with the hint that it may not be missing."""
    if finding.entry in _CERTAIN:
        return finding
    hint = f"unless a document has it that cannot be read yet: {finding.hint}"
    return finding.replace(hint=hint)


def _confidential(project: Project) -> Iterable[Finding]:
    workloads = project.index.workloads.values()
    if not any(
        item.role != ROLE_COORDINATOR and project.is_confidential(item) for item in workloads
    ):
        yield Finding(
            catalogue.NO_WORKLOAD,
            Location(file=project.settings.file),
            "found no workload that is confidential, expected at least one",
        )


def _runtime_class(project: Project) -> Iterable[Finding]:
    if project.handler_fault and project.confidential:
        settings = project.settings
        key = "runtime.class" if settings.handler else "platform"
        yield Finding(
            catalogue.RUNTIME_CLASS_UNKNOWN,
            settings.where(key),
            project.handler_fault,
            f'set class = "{HANDLER_PREFIX}{settings.platform}-<8 hex digits>" under [runtime], as'
            " 'kubectl get runtimeclass' shows it, or name the reference values in their file by it",
        )


def _not_pushed(project: Project) -> Iterable[Finding]:
    """Yield what was packed for this machine and is locked for a cluster."""
    settings = project.settings
    if settings.is_local or not (settings.root / settings.packed_layout / "index.json").exists():
        return
    from contrast_tasks.images.layout import Layout
    from contrast_tasks.steps.locked import read_lock

    try:
        lock = read_lock(settings)
        layout = Layout(settings.root / settings.packed_layout, name=settings.packed_layout)
        used = [(each, lock.resolve(each)) for each in project.used_images]
    except ImageError:
        # Told with the workloads that it concerns.
        return
    for reference, locked in used:
        pinned = parse_reference(reference).pinned(locked.digest) if locked else None
        if pinned is not None and layout.find(pinned) is not None:
            yield Finding(
                catalogue.IMAGE_NOT_PUSHED,
                Location(file=settings.lock),
                f"image {reference} is locked as {layout.name} has it, which was packed for platform local;"
                f" {pinned.registry} has it only if it was pushed",
            )


class Checked(Record, kw_only=False):
    """A manifest that may be written, and build/check.json as a JSON value.

    entries: texts of the policies of workloads that need not be checked again, by workload id; "" without a policy.
    """

    manifest: bytes
    outcome: Mapping[str, Any]
    entries: Mapping[str, str]


def check_project(
    project: Project,
    heads: Mapping[str, Head],
    keys: "PublicKeys",
    *,
    accepted: Mapping[str, str],
    of_sources: Sequence[Finding],
) -> Checked:
    """Compose the manifest and check everything.

    heads: of all workloads, by id. accepted: the entries that an earlier `Checked` has of workloads that are as they were.
    of_sources: the result of `source_findings`.
    Values that only the user knows may be missing: the outcome lists them. Raises FindingsError for any other error.
    """
    from contrast_tasks.manifest.validate import is_missing
    from contrast_tasks.steps.id_blocks import without_id_block

    workloads = project.index.workloads
    if _are_independent(heads):
        content, entries, composed = _manifest_by_entries(project, heads, keys, accepted)
    else:
        content, entries, composed = _whole_manifest(project, heads, keys)
    findings = [*of_sources, *composed, *without_id_block(project, heads)]
    findings += size_findings(project, heads, len(content))
    for name, head in heads.items():
        if head.findings:
            findings.extend(shown(project, head, workloads[name]))
    missing = [finding for finding in findings if is_missing(finding)]
    shown_now = without_ignored(findings, project.settings)
    found = sorted((finding for finding in shown_now if not is_missing(finding)), key=sort_key)
    raise_errors(found)
    outcome = {
        "version": VERSION,
        "workloads": len(heads),
        "policies": len({head.policy_sha256 for head in heads.values() if head.policy_sha256}),
        "manifest_sha256": sha256_hex(content),
        "findings": [finding.to_json() for finding in found],
        "missing": [finding.to_json() for finding in missing],
    }
    return Checked(content, outcome, entries)


_Composed = tuple[bytes, Mapping[str, str], list[Finding]]


def _are_independent(heads: Mapping[str, Head]) -> bool:
    """Return whether no two workloads share a policy or a secret, so that their entries can be checked one by one."""
    from contrast_tasks.manifest.entries import transit_name

    confidential = [head for head in heads.values() if head.policy_sha256]
    policies = {head.policy_sha256 for head in confidential}
    secrets = [head.workload_secret_id for head in confidential if head.workload_secret_id]
    return (
        len(policies) == len(confidential)
        and len(set(secrets)) == len(secrets)
        and not any(transit_name(secret) for secret in secrets if "_" in secret)
    )


def _whole_manifest(project: Project, heads: Mapping[str, Head], keys: "PublicKeys") -> _Composed:
    """Return the manifest, no entries and the findings about it."""
    from contrast_tasks.manifest.codec import check_manifest, render_manifest
    from contrast_tasks.steps.manifest import compose

    release, file = project.settings.release, project.paths.manifest
    manifest, findings = compose(project, heads, keys)
    content = render_manifest(manifest, release.manifest)
    return content, {}, findings + check_manifest(content, release=release, file=file)[1]


def _manifest_by_entries(
    project: Project, heads: Mapping[str, Head], keys: "PublicKeys", accepted: Mapping[str, str]
) -> _Composed:
    """Return what `_whole_manifest` does of independent workloads, with all entries, made and checked only if they are new."""
    from contrast_tasks.manifest.codec import check_manifest, render_entry, render_manifest
    from contrast_tasks.steps.manifest import compose

    release, file = project.settings.release, project.paths.manifest
    # The number of Coordinators is checked, so they are always included.
    new = {name: head for name, head in heads.items() if head.role or name not in accepted}
    manifest, findings = compose(project, new, keys)
    made = {policy: render_entry(entry) for policy, entry in manifest.policies.items()}
    entries = {
        name: accepted[name] if name in accepted else made.get(head.policy_sha256, "")
        for name, head in heads.items()
    }
    texts = {heads[name].policy_sha256: text for name, text in entries.items() if text}
    content = render_manifest(manifest, release.manifest, texts)
    part = render_manifest(manifest, release.manifest, made)
    found = check_manifest(part, release=release, file=file)[1]
    if found:
        # At the lines of the whole file.
        found = check_manifest(content, release=release, file=file)[1]
        told = {finding.where.pointer.partition("/Policies/")[2][:64] for finding in found}
        # Told again by the next run.
        entries = {
            name: text for name, text in entries.items() if heads[name].policy_sha256 not in told
        }
    return content, entries, findings + found


def size_findings(
    project: Project, heads: Mapping[str, Head], manifest_bytes: int | None = None
) -> list[Finding]:
    """Return the findings about what is too large for whoever does not know packs: an error if the Coordinator does not.

    manifest_bytes: None for a manifest that has only the workloads, which is little less.
    """
    from contrast_tasks.manifest.codec import render_manifest
    from contrast_tasks.manifest.model import Manifest, PolicyEntry
    from contrast_tasks.manifest.sizes import excesses
    from contrast_tasks.trusted_guests import ReferenceValues

    with_policy = {head.policy_sha256: head for head in heads.values() if head.policy_sha256}
    if manifest_bytes is None:
        entries = {
            name: PolicyEntry(
                sans=head.sans, workload_secret_id=head.workload_secret_id, role=head.role
            )
            for name, head in with_policy.items()
        }
        manifest = Manifest(policies=entries, reference_values=ReferenceValues())
        manifest_bytes = len(render_manifest(manifest, project.settings.release.manifest))
    sizes = {name: head.policy_bytes for name, head in with_policy.items()}
    return [
        Finding(
            catalogue.PLAIN_SIZE,
            Location(file=project.paths.manifest),
            f"{text} by clients and Coordinators of the reference product",
            is_milder=not project.settings.components.are_reference,
        )
        for text in excesses(manifest_bytes, sizes)
    ]


def refuse_foreign(project: Project) -> None:
    """Raise GraphError if a build directory that `generate` never finished in has other files, which it would remove."""
    from contrast_tasks.steps.manifest import not_generated

    foreign = not_generated(project)
    if foreign:
        raise GraphError(
            f"found {foreign[0]}, which generate did not write and would remove; expected"
            f" {project.paths.build} to be new or empty",
            hint="name another build_dir in contrast.toml, or remove the file",
        )


def has_outcome(path: Path) -> bool:
    """Return whether a file is the build/check.json of an earlier run."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and bool(document.get("manifest_sha256"))
