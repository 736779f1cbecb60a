"""The actions of the pipeline: each looks for its result in the store, else takes the step and keeps the result.

The steps know neither digests nor the store, and are imported when an action runs.
"""

import contextlib
import json
from typing import Any

from contrast_tasks.errors import SettingsError
from contrast_tasks.files import canonical_json, pretty_json, sha256_hex, write_atomic
from contrast_tasks.findings import Finding, Severity, raise_errors
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.workspace import Workspace, open_workspace


def _open(project: Spec) -> Workspace:
    workspace = open_workspace(project)
    # Another task of the run may have written it.
    workspace.inputs.look_at_lock()
    return workspace


def check_sources(project: Spec) -> dict[str, Any]:
    """Check files, duplicates and the workloads settings name; raise FindingsError if there are errors."""
    workspace = _open(project)
    findings = findings_of_sources(workspace)
    raise_errors(findings)
    content = canonical_json([finding.to_json() for finding in findings])
    workspace.keep("sources", workspace.inputs.sources(), content)
    return {"wrote": []}


def findings_of_sources(workspace: Workspace) -> list[Finding]:
    """Return the findings about the sources as a whole, of all severities."""
    from contrast_tasks.steps.check import source_findings

    return source_findings(workspace.project, workspace.read_facts)


def pack_components(project: Spec) -> dict[str, Any]:
    """Pack our own images that no declared layout has, so that platform `local` needs no registry for them."""
    from contrast_tasks.images.packing import pack_components as pack

    settings = _open(project).project.settings
    return {"wrote": [f"{settings.packed_layout}/index.json"] if pack(settings) else []}


def pack_images(project: Spec) -> dict[str, Any]:
    """Pack the images of the project and of our components into the layout below the build directory."""
    from contrast_tasks.images.packing import pack

    settings = _open(project).project.settings
    changed = pack(settings)["changed"]
    return {"wrote": [f"{settings.packed_layout}/index.json"] if changed else []}


def complete_lock(project: Spec) -> dict[str, Any]:
    """Update the lock file from the layouts on disk and the references in use."""
    from contrast_tasks.steps.lock import complete_lock as complete

    workspace = _open(project)
    opened = workspace.project
    return complete(opened.settings, opened.used_images, kept=workspace.shared)


def prepare_keys(project: Spec) -> dict[str, Any]:
    """Create the missing keys, and keep the public parts of all; return the files written, and what to warn of."""
    from contrast_tasks.steps.keys import prepare_keys as prepare
    from contrast_tasks.steps.keys import told_of_new

    workspace = _open(project)
    settings = workspace.project.settings
    public, made = prepare(settings)
    # The new keys are inputs of the result.
    content = canonical_json(vars(public))
    workspace.keep("keys", workspace.inputs.keys(), content)
    return {"wrote": made, "warnings": told_of_new(settings, made)}


def derive_workload(project: Spec, workload: str) -> dict[str, Any]:
    """Derive the policy of a workload, or find it in the store; return its hash and whether another is published.

    Raises FindingsError with every finding of the workload if one is an error.
    """
    from contrast_tasks.steps.work import parse_head

    workspace = _open(project)
    inputs = workspace.inputs.workload(workload)
    digest = inputs.digest
    content = workspace.results.get("workload", digest)
    if content is None:
        content = workspace.shared.get("workload", digest)
        if content is None:
            content = _derive(workspace, workload)
            workspace.shared.remember("workload", digest, content)
        workspace.keep("workload", inputs, content)
    policy = parse_head(content).policy_sha256
    result = f"{project.state}/store/workload/{digest}"
    return {
        "policy_sha256": policy,
        "wrote": [result] if policy != _published(workspace, workload) else [],
    }


def _derive(workspace: Workspace, workload: str) -> bytes:
    from contrast_tasks.steps import policies
    from contrast_tasks.steps.locked import read_lock
    from contrast_tasks.steps.work import render_work

    def sources_fail() -> bool:
        found = findings_of_sources(workspace)
        return any(finding.severity is Severity.ERROR for finding in found)

    project = workspace.project
    work = policies.derive(
        project,
        project.index.workloads[workload],
        read_lock(project.settings),
        rules=workspace.rules,
        sources_fail=sources_fail,
    )
    return render_work(work)


def _published(workspace: Workspace, workload: str) -> str:
    """Return the SHA-256 hex of the policy's document on disk, "" if there is none."""
    project = workspace.project
    try:
        return sha256_hex((project.root / project.paths.document(workload)).read_bytes())
    except OSError:
        return ""


def check_project(project: Spec) -> dict[str, Any]:
    """Compose the manifest and check everything; keep the manifest, and write build/check.json."""
    from contrast_tasks.steps import check, in_place
    from contrast_tasks.steps.keys import PublicKeys

    workspace = _open(project)
    opened, inputs = workspace.project, workspace.inputs
    if opened.paths.in_place:
        in_place.refuse_unwritable(opened.root, opened.sources)
    place = opened.root / opened.paths.check
    if not check.has_outcome(place):
        check.refuse_foreign(opened)
    of_sources = json.loads(workspace.result("sources", inputs.sources().digest))
    keys = json.loads(workspace.result("keys", inputs.keys().digest))
    heads = workspace.heads()
    checked = check.check_project(
        opened,
        heads,
        PublicKeys.from_json(keys),
        accepted=workspace.accepted(),
        of_sources=[Finding.from_json(finding) for finding in of_sources],
    )
    workspace.accept(heads, checked.entries)
    workspace.keep("check", inputs.check(), checked.manifest)
    # The record of the task has its digest.
    changed = write_atomic(place, pretty_json(checked.outcome), is_synced=False)
    path = opened.paths.check
    return {"wrote": [path] if changed else [], "outcome": path}


def write_outputs(project: Spec, file: str) -> dict[str, Any]:
    """Write the annotated YAML, records and policies of one source; return the files with new bytes."""
    from contrast_tasks.steps.write import write_outputs as write

    workspace = _open(project)
    opened = workspace.project
    workloads = [*opened.workloads_in(file), *opened.claimants.get(file, ())]
    works = {workload.id: workspace.work(workload.id) for workload in workloads}
    return {"wrote": write(opened, file, works)}


def write_combined(project: Spec) -> dict[str, Any]:
    """Write the annotated YAML of all sources to one file."""
    from contrast_tasks.steps.combine import write_combined as write

    opened = _open(project).project
    file = str(opened.combined)
    return {"wrote": [file] if write(opened, file) else []}


def write_manifest(project: Spec) -> dict[str, Any]:
    """Write the checked manifest, then remove outputs that are no longer generated.

    Returns a warning if what stood there was neither ours nor what is written now.
    """
    from contrast_tasks.steps.manifest import prune

    workspace = _open(project)
    opened, results = workspace.project, workspace.results
    name = opened.paths.manifest
    content = workspace.result("check", workspace.inputs.check().digest)
    # Digest of the manifest as last written, to notice one that was edited since.
    key = sha256_hex(name.encode())
    written = results.get("written", key)
    try:
        now = sha256_hex((opened.root / name).read_bytes()).encode()
    except OSError:
        now = None
    changed = write_atomic(opened.root / name, content)
    results.put("written", key, sha256_hex(content).encode())
    removed = prune(opened)
    workspace.prune()
    is_edited = changed and written is not None and now is not None and now != written
    return {
        "wrote": [name] if changed else [],
        "removed": removed,
        "warnings": [
            (
                f"{name} had been edited by hand, and what was changed there is gone\n"
                "  hint: declare SANs, secret IDs and reference values in contrast.toml"
            )
        ]
        if is_edited
        else [],
    }


def require_values(project: Spec) -> dict[str, Any]:
    """Do nothing; raises MissingReferenceValues if the manifest lacks values that only the user knows."""
    from contrast_tasks.tasks.outcome import lacking, read_outcome

    opened = _open(project).project
    _, missing = read_outcome(opened.root / opened.paths.check)
    if missing:
        raise lacking(missing)
    return {"wrote": []}


def passed_findings(workspace: Workspace) -> list[Finding]:
    """Return the findings about the sources and the finished workloads; failed tasks report their own."""
    from contrast_tasks.steps.check import size_findings
    from contrast_tasks.steps.id_blocks import without_id_block
    from contrast_tasks.steps.work import shown

    project, heads = workspace.project, workspace.heads(only_known=True)
    findings = [*findings_of_sources(workspace), *size_findings(project, heads)]
    for name, head in heads.items():
        findings.extend(shown(project, head, project.index.workloads[name]))
    # What is wrong with the file of reference values is for the manifest to say.
    with contextlib.suppress(SettingsError):
        findings.extend(without_id_block(project, heads))
    return findings
