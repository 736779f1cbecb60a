"""The result of a workload's costly step, for the checks, the manifest and the outputs.

line 1   the head as a JSON list: what checks and the manifest need, and nothing large
line 2   the prepared object as JSON, images pinned
rest     the policy's text; empty for a workload that gets none
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from contrast_tasks.files import canonical_json
from contrast_tasks.findings import Finding
from contrast_tasks.records import Record
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.project import Project


class Head(NamedTuple):
    """The facts about a workload that the manifest needs; a record would take a run over a thousand longer to make.

    policy_sha256: 64 hex digits, "" without a policy. policy_bytes: of its document. vcpus: of the guest, 1 where no ID
    block says so. findings: as JSON, places relative to the document: line 1 is the document's first, the file is left to
    whoever knows where the document stands now.
    """

    policy_sha256: str
    sans: tuple[str, ...]
    workload_secret_id: str
    role: str
    policy_bytes: int = 0
    vcpus: int = 1
    findings: tuple[Mapping[str, Any], ...] = ()


class Work(Record):
    """Head, prepared object and policy of one workload."""

    head: Head
    obj: dict[str, Any]
    policy: bytes


def render_work(work: Work) -> bytes:
    """Return the stored form of a work."""
    # The order of keys is the user's, so it is kept.
    obj = json.dumps(work.obj, separators=(",", ":"), ensure_ascii=False).encode()
    return b"\n".join((canonical_json(work.head), obj, work.policy))


def parse_work(content: bytes) -> Work:
    """Return the work that `render_work` wrote."""
    head, obj, policy = content.split(b"\n", 2)
    return Work(head=head_of(json.loads(head)), obj=json.loads(obj), policy=policy)


def parse_head(content: bytes) -> Head:
    """Return the head of a work that `render_work` wrote, without parsing the rest."""
    return head_of(json.loads(content.partition(b"\n")[0]))


def head_of(members: Sequence[Any]) -> Head:
    """Return the head from its JSON form, the list of its members."""
    sha256, sans, secret_id, role, size, vcpus, findings = members
    return Head(sha256, tuple(sans), secret_id, role, size, vcpus, tuple(findings))


def placed(head: Head, workload: Workload) -> list[Finding]:
    """Return a head's findings at the present place of the workload's document.

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
    """Return a head's findings with the present lines of documents and settings."""
    return [_with_line(project, finding, workload) for finding in placed(head, workload)]


def _with_line(project: Project, finding: Finding, workload: Workload) -> Finding:
    declared = project.workload_settings(workload)
    where = finding.where
    if where.line is not None or not where.pointer or declared is None:
        return finding
    return finding.replace(where=declared.place(where.pointer.rpartition("/")[2]))
