"""The checks that stand between the workloads' results and anything being written.

`check_sources` looks at the sources as a whole and runs even when a workload failed, so that one run reports everything.
`check_project` looks at the results, composes the manifest and validates it; build/check.json tells what was found.
"""

import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks import catalogue
from contrast_tasks.errors import GraphError, Location
from contrast_tasks.files import pretty_json, sha256_hex, write_atomic
from contrast_tasks.findings import Finding, raise_errors, sort_key
from contrast_tasks.steps import accepted
from contrast_tasks.steps.accepted import Row
from contrast_tasks.steps.index import INDEX, Workload
from contrast_tasks.steps.paths import Spec
from contrast_tasks.steps.project import Project, open_project
from contrast_tasks.steps.work import Head, read_head

VERSION = 1
# What another file cannot make untrue.
_CERTAIN = frozenset(
    {
        catalogue.ANNOTATION_PLACE,
        catalogue.ANNOTATION_VALUE,
        catalogue.COMPONENT_VERSION,
        catalogue.DUPLICATE,
        catalogue.FIELD_TYPE,
        catalogue.FOREIGN_PODS,
        catalogue.MESH_INGRESS_ABSENT,
        catalogue.NOT_CONFIDENTIAL,
        catalogue.ROLE_PLACE,
        catalogue.UNKNOWN_ANNOTATION,
    }
)


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
    from contrast_tasks.prepare.workload import check_sources as check_indexes

    index = project.index
    broken = [*index.findings]
    for source in index.files:
        broken.extend(source.findings)
    found = [
        *_confidential(project),
        *check_indexes([project.documents_of(source) for source in index.files], project.settings),
    ]
    if broken:
        # What one file seems to lack may stand in the one that cannot be read.
        found = [finding for finding in found if finding.entry in _CERTAIN]
    return broken + found


def _confidential(project: Project) -> Iterable[Finding]:
    workloads = project.index.workloads.values()
    if not any(item.role != "coordinator" and project.is_confidential(item) for item in workloads):
        yield Finding(
            catalogue.NO_WORKLOAD,
            Location(file=project.settings.file),
            "found no workload that is confidential, expected at least one",
        )


def check_documents(project: Spec) -> dict[str, Any]:
    """Validate settings, lock file and index by their schemas; raise FindingsError naming every difference."""
    opened = open_project(project)
    findings: list[Finding] = []
    settings = opened.root / opened.settings.file
    if settings.is_file():
        document = tomllib.loads(settings.read_text(encoding="utf-8-sig"))
        findings.extend(_schema_findings(document, "settings", opened.settings.file))
    lock = opened.root / opened.settings.lock
    if lock.is_file():
        document = json.loads(lock.read_bytes())
        findings.extend(_schema_findings(document, "lock", opened.settings.lock))
    # What this run goes by; it is written before any task runs.
    index = opened.root / INDEX
    if index.is_file():
        findings.extend(_schema_findings(json.loads(index.read_bytes()), "index", INDEX))
    raise_errors(findings)
    return {"wrote": []}


def _schema_findings(document: Any, schema: str, file: str) -> Iterable[Finding]:
    from contrast_tasks.schema import validate

    for pointer, message in validate(document, schema):
        yield Finding(
            catalogue.SCHEMA,
            Location(file=file, pointer=pointer),
            f"{pointer or 'the document'} {message}",
            f"see schemas/{schema}.schema.json",
        )


def placed(head: Head, workload: Workload) -> list[Finding]:
    """Return a head's findings at the place where the workload's document stands now.

    One in the settings has file and pointer only; see `shown`.
    """
    return [_placed(finding, workload) for finding in head.findings]


def _placed(document: Mapping[str, Any], workload: Workload) -> Finding:
    where = dict(document["where"])
    if not where["file"]:
        line = where.get("line")
        where["file"] = workload.file
        where["line"] = workload.line if line is None else workload.line + line - 1
    return Finding.from_json({**document, "where": where})


def shown(project: Project, head: Head, workload: Workload) -> list[Finding]:
    """Return a head's findings with the lines that documents and settings have now."""
    return [_with_line(project, finding, workload) for finding in placed(head, workload)]


def _with_line(project: Project, finding: Finding, workload: Workload) -> Finding:
    declared = project.workload_settings(workload)
    where = finding.where
    if where.line is not None or not where.pointer or declared is None:
        return finding
    return replace(finding, where=declared.place(where.pointer.rpartition("/")[2]))


def check_project(project: Spec) -> dict[str, Any]:
    """Compose the manifest, validate everything, write the candidate and build/check.json.

    Values that only the user can know may be missing: they are listed in check.json. Raises FindingsError otherwise.
    """
    from contrast_tasks.manifest.validate import is_missing

    opened = open_project(project)
    root, paths = opened.root, opened.paths
    _refuse_foreign(opened)
    rows = _rows(opened)
    findings = [
        Finding.from_json(document) for document in json.loads((root / paths.sources).read_bytes())
    ]
    for name, row in rows.items():
        if row.head["findings"]:
            findings.extend(shown(opened, row.as_head(), opened.index.workloads[name]))
    checked = _check_changed(opened, rows) or _check_all(opened, rows)
    content = checked.content
    findings += checked.findings
    missing = [finding for finding in findings if is_missing(finding)]
    found = sorted((finding for finding in findings if not is_missing(finding)), key=sort_key)
    raise_errors(found)
    frame = _frame(opened, checked.frame, is_complete=not missing)
    document = {
        "version": VERSION,
        "workloads": len(rows),
        "policies": len({row.policy_sha256 for row in rows.values() if row.policy_sha256}),
        "manifest_sha256": sha256_hex(content),
        "frame_sha256": frame,
        "findings": [finding.to_json() for finding in found],
        "missing": [finding.to_json() for finding in missing],
    }
    if frame != _frame_before(root / paths.check):
        schema = "manifest.input" if missing else "manifest"
        different = [
            *_schema_findings(json.loads(content), schema, paths.manifest),
            *_schema_findings(document, "check", paths.check),
        ]
        raise_errors(different)
    write_atomic(root / paths.candidate, content)
    accepted.save_rows(root / paths.accepted, opened.code, checked.rows)
    changed = write_atomic(root / paths.check, pretty_json(document))
    return {"wrote": [paths.check] if changed else [], "outcome": paths.check}


def _refuse_foreign(project: Project) -> None:
    """Raise GraphError for files in a build directory that no generate has finished in yet: they would be removed."""
    from contrast_tasks.steps.manifest import not_generated

    if _frame_before(project.root / project.paths.check):
        return
    foreign = not_generated(project)
    if foreign:
        raise GraphError(
            f"found {foreign[0]}, which generate did not write and would remove; expected"
            f" {project.paths.build} to be new or empty",
            hint="name another build_dir in contrast.toml, or remove the file",
        )


class _Checked(NamedTuple):
    """A manifest: its bytes, its text without policies, what was found in it, and the rows it was made from."""

    content: bytes
    frame: str
    findings: list[Finding]
    rows: Mapping[str, Row]


def _rows(project: Project) -> dict[str, Row]:
    """Return what is known of each workload; heads are read where the inputs are others than last time."""
    root, paths, workloads = project.root, project.paths, project.index.workloads
    before = accepted.load_rows(root / paths.accepted, project.code)
    rows = {}
    for name, inputs in zip(
        workloads, project.inputs_of_workloads(workloads.values()), strict=True
    ):
        row = before.get(name)
        if row is None or row.inputs != inputs:
            row = Row(inputs, asdict(read_head(root / paths.work(name), inputs)))
        rows[name] = row
    return rows


def _check_changed(project: Project, rows: Mapping[str, Row]) -> _Checked | None:
    """Check the entries that were not accepted before; None if somebody has to look at all of them."""
    from contrast_tasks.manifest.codec import check_manifest, render_manifest
    from contrast_tasks.steps.keys import load_public_keys
    from contrast_tasks.steps.manifest import compose

    if not accepted.is_plain(rows.values()):
        return None
    names = accepted.to_check(rows)
    heads = {name: rows[name].as_head() for name in names}
    manifest, _ = compose(project, heads, load_public_keys(project))
    content = render_manifest(manifest)
    _, findings = check_manifest(content, file=project.paths.manifest)
    frame = accepted.frame_of(manifest)
    known = None if findings else accepted.accept(rows, names, frame, content.decode())
    if known is None:
        return None
    return _Checked(accepted.assemble(known, frame).encode(), frame, [], known)


def _check_all(project: Project, rows: Mapping[str, Row]) -> _Checked:
    from contrast_tasks.manifest.codec import check_manifest, render_manifest
    from contrast_tasks.steps.keys import load_public_keys
    from contrast_tasks.steps.manifest import compose

    heads = {name: row.as_head() for name, row in rows.items()}
    manifest, merged = compose(project, heads, load_public_keys(project))
    content = render_manifest(manifest)
    _, validated = check_manifest(content, file=project.paths.manifest)
    known = {name: row._replace(entry="") for name, row in rows.items()}
    return _Checked(content, accepted.frame_of(manifest), [*merged, *validated], known)


def _frame(project: Project, frame: str, *, is_complete: bool) -> str:
    """Return the digest of all of a manifest but its policies, and of the rules.

    The schema is asked when this changes. What it says of a single policy entry, the rules of `check_manifest` say
    too (a test holds both together), and loading it takes longer than deriving a policy.
    """
    return sha256_hex(f"{project.code} {is_complete} {sha256_hex(frame.encode())}".encode())


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
        findings.extend(shown(project, head, workload))
    return findings
