"""The checks that stand between the workloads' results and anything being written.

`check_sources` looks at the sources as a whole and runs even when a workload failed, so that one run reports everything.
`check_project` looks at the results, composes the manifest and validates it; build/check.json tells what was found.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.errors import FindingsError, GraphError, Location
from contrast_tasks.files import pretty_json, sha256_hex, write_atomic
from contrast_tasks.findings import Finding, Severity, raise_errors, sort_key
from contrast_tasks.stages.index import Workload
from contrast_tasks.stages.project import Project, Spec, open_project
from contrast_tasks.stages.work import Head, read_head

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

VERSION = 1
# Findings that another file cannot make untrue: not confidential, duplicate, reached without ingress.
_CERTAIN = ("G004", "G005", "G042")


def check_sources(project: Spec) -> dict[str, Any]:
    """Check files, duplicates and the workloads settings name; raise FindingsError if there are errors."""
    opened = open_project(project)
    findings = source_findings(opened)
    raise_errors(findings)
    document = [finding.to_json() for finding in findings]
    write_atomic(opened.root / opened.paths.sources, pretty_json(document))
    return {"wrote": []}


def source_findings(project: Project) -> list[Finding]:
    """Return what the sources as a whole have to say, all severities."""
    from contrast_tasks.stages.prepare import check_sources as check_indexes

    index = project.index
    broken = [*index.findings]
    for source in index.files:
        broken.extend(source.findings)
    found = [
        *_confidential(project),
        *check_indexes([source.index() for source in index.files], project.settings),
    ]
    if broken:
        # What one file seems to lack may stand in the one that cannot be read.
        found = [finding for finding in found if finding.code in _CERTAIN]
    return broken + found


def _confidential(project: Project) -> Iterable[Finding]:
    workloads = project.index.workloads.values()
    if not any(item.role != "coordinator" and project.is_confidential(item) for item in workloads):
        yield Finding(
            code="G002",
            rule="no-workload",
            severity=Severity.ERROR,
            message="found no workload that is confidential, expected at least one",
            where=Location(file=project.settings.file),
            hint="set runtime_class = true in [defaults], or add the folder of your deployment",
        )


def check_documents(project: Spec) -> dict[str, Any]:
    """Validate settings and lock file by their schemas; raise FindingsError naming every difference."""
    opened = open_project(project)
    findings: list[Finding] = []
    settings = opened.root / opened.settings.file
    if settings.is_file():
        document = tomllib.loads(settings.read_text(encoding="utf-8"))
        findings.extend(_schema_findings(document, "settings", opened.settings.file))
    lock = opened.root / opened.settings.lock
    if lock.is_file():
        document = json.loads(lock.read_bytes())
        findings.extend(_schema_findings(document, "lock", opened.settings.lock))
    raise_errors(findings)
    return {"wrote": []}


def _schema_findings(document: Any, schema: str, file: str) -> Iterable[Finding]:
    from contrast_tasks.schema import validate

    for pointer, message in validate(document, schema):
        yield Finding(
            code="S001",
            rule="schema",
            severity=Severity.ERROR,
            message=f"{pointer or 'the document'} {message}",
            where=Location(file=file, pointer=pointer),
            hint=f"see schemas/{schema}.schema.json",
        )


def placed(head: Head, workload: Workload) -> list[Finding]:
    """Return a head's findings at the place where the workload's document stands now."""
    return [_placed(finding, workload) for finding in head.findings]


def _placed(document: Mapping[str, Any], workload: Workload) -> Finding:
    where = dict(document["where"])
    line = where.get("line")
    where["file"] = workload.file
    where["line"] = workload.line if line is None else workload.line + line - 1
    return Finding.from_json({**document, "where": where})


def check_project(project: Spec) -> dict[str, Any]:
    """Compose the manifest, validate everything, write the candidate and build/check.json.

    Values that only the user can know may be missing: they are listed in check.json. Raises FindingsError otherwise.
    """
    from contrast_tasks.manifest.codec import check_manifest, render_manifest
    from contrast_tasks.manifest.validate import is_missing
    from contrast_tasks.stages.keys import load_public_keys
    from contrast_tasks.stages.manifest import compose

    opened = open_project(project)
    root, paths = opened.root, opened.paths
    heads = {
        name: read_head(root / paths.work(name), opened.inputs_of_workload(name))
        for name in opened.index.workloads
    }
    findings = [
        Finding.from_json(document) for document in json.loads((root / paths.sources).read_bytes())
    ]
    for name, head in heads.items():
        findings.extend(placed(head, opened.index.workloads[name]))
    manifest, merged = compose(opened, heads, load_public_keys(opened))
    content = render_manifest(manifest)
    _, validated = check_manifest(content, file=paths.manifest)
    findings += [*merged, *validated]
    missing = [finding for finding in findings if is_missing(finding)]
    found = sorted((finding for finding in findings if not is_missing(finding)), key=sort_key)
    raise_errors(found)
    frame = _frame(opened, manifest, is_complete=not missing)
    if frame != _frame_before(root / paths.check):
        schema = "manifest.input" if missing else "manifest"
        different = list(_schema_findings(json.loads(content), schema, paths.manifest))
        if different:
            raise FindingsError(different)
    document = {
        "version": VERSION,
        "workloads": len(heads),
        "policies": len(manifest.policies),
        "manifest_sha256": sha256_hex(content),
        "frame_sha256": frame,
        "findings": [finding.to_json() for finding in found],
        "missing": [finding.to_json() for finding in missing],
    }
    write_atomic(root / paths.candidate, content)
    changed = write_atomic(root / paths.check, pretty_json(document))
    return {"wrote": [paths.check] if changed else []}


def _frame(project: Project, manifest: "Manifest", *, is_complete: bool) -> str:
    """Return the digest of all of a manifest but its policies, and of the rules.

    The schema is asked when this changes. What it says of a single policy entry, the rules of `check_manifest` say
    too (a test holds both together), and loading it takes longer than deriving a policy.
    """
    from contrast_tasks.manifest.codec import render_manifest

    content = render_manifest(replace(manifest, policies={}))
    return sha256_hex(f"{project.code} {is_complete} {sha256_hex(content)}".encode())


def _frame_before(path: Path) -> str:
    try:
        return str(json.loads(path.read_bytes())["frame_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def passed_findings(project: Project) -> list[Finding]:
    """Return what the sources and the workloads that got through have to say; those that failed say it themselves."""
    findings = list(source_findings(project))
    for name, workload in project.index.workloads.items():
        try:
            head = read_head(
                project.root / project.paths.work(name), project.inputs_of_workload(name)
            )
        except GraphError:
            continue
        findings.extend(placed(head, workload))
    return findings
