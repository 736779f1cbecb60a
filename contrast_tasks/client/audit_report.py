"""The audit report: its members, which JSON has too, and its text."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from contrast_tasks.client.audit_policy import (
    DescribedPolicy,
    container_lines,
    mesh_lines,
)
from contrast_tasks.records import Record
from contrast_tasks.report.model import number_of

_SHORT = 12
_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedManifest:
    """One manifest of the history.

    trusts: lines on each reference value, indented those that belong to the one above. update_keys, recovery_keys: SHA-256
    of owners' keys; approvals: how many owners have to approve an update. changes: what it changed, none for the first.
    workloads: name and policy of each.
    """

    number: int
    sha256: str
    trusts: tuple[str, ...]
    update_keys: tuple[str, ...]
    approvals: int
    recovery_keys: tuple[str, ...]
    changes: tuple[str, ...]
    workloads: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedWorkload:
    """A workload of the manifest in force.

    guest_files: name and text of what initdata has beside the policy. allows: None if the policy cannot be described, for the
    reason in `problem`.
    """

    name: str
    policy: str
    sans: tuple[str, ...]
    role: str
    secret_id: str
    guest_files: tuple[tuple[str, str], ...]
    problem: str
    allows: DescribedPolicy | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Since:
    """What changed since the last audit; number: of the manifest that was audited, None if it is not in the history."""

    number: int | None
    changes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """The whole report. since: None before the first audit."""

    folder: str
    root_ca_sha256: str
    mesh_ca_sha256: str
    generations: tuple[AuditedManifest, ...]
    since: Since | None
    workloads: tuple[AuditedWorkload, ...]
    trusts_simulated: bool

    def to_json(self) -> dict[str, Any]:
        """Return all members as JSON values."""
        document: dict[str, Any] = _plain(asdict(self))
        return document

    @property
    def text(self) -> str:
        """Return the report for people."""
        lines = [*_heading(self)]
        for generation in self.generations:
            lines += ["", *_manifest_lines(generation)]
        if self.since is not None:
            lines += ["", *since_lines(self.since)]
        lines += ["", "workloads of the manifest in force"]
        for workload in self.workloads:
            lines += ["", *_workload_lines(workload)]
        # Names are chosen by the manifest's author and must not control the auditor's terminal.
        return "".join(f"{_printable(line)}\n" for line in lines)


def _plain(value: Any) -> Any:
    """Return a value with objects for named tuples, which `asdict` leaves as they are."""
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Record):
        return {name: _plain(getattr(value, name)) for name in value.parts}
    return value


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _heading(audit: AuditReport) -> Iterator[str]:
    yield f"audit of {audit.folder}/: {number_of(len(audit.generations), 'manifest')}"
    for label, digest in (("root CA", audit.root_ca_sha256), ("mesh CA", audit.mesh_ca_sha256)):
        if digest:
            yield f"  {label:<8} SHA-256 {digest}"


def _manifest_lines(manifest: AuditedManifest) -> Iterator[str]:
    yield f"manifest {manifest.number}  SHA-256 {manifest.sha256}"
    yield from (f"  trusts   {line}" for line in manifest.trusts)
    updates = "updates "
    for label, kind, digests in (
        (updates, "workload owner", manifest.update_keys),
        ("recovery", "seed share owner", manifest.recovery_keys),
    ):
        yield from (f"  {label} by {kind} key {digest}" for digest in digests)
        if not digests:
            yield f"  {label} by no key"
        if label == updates and manifest.approvals > 1:
            yield f"  {label} only if {manifest.approvals} of them approve"
    if manifest.number == 0:
        yield from (
            f"  workload {name}, policy {policy[:_SHORT]}" for name, policy in manifest.workloads
        )
    yield from (f"  changed  {change}" for change in manifest.changes)


def since_lines(since: Since) -> Iterator[str]:
    """Yield what changed since the last audit as lines of the report."""
    if since.number is None:
        yield "since the last audit: the manifest that was audited is not in this history"
        return
    yield f"since the last audit, of manifest {since.number}"
    yield from (f"  changed  {change}" for change in since.changes or ("nothing",))


def _workload_lines(workload: AuditedWorkload) -> Iterator[str]:
    yield f"{workload.name}  policy {workload.policy}"
    yield f"  SANs     {' '.join(workload.sans) or '(none)'}"
    if workload.role:
        yield f"  role     {workload.role}"
    yield f"  secret   {workload.secret_id or '(none)'}"
    for name, text in workload.guest_files:
        yield f"  guest    initdata has {name} too: {_cut(text)}"
    allows = workload.allows
    if allows is None:
        yield f"  policy   cannot be described: {workload.problem}; read the file itself"
        return
    if not workload.role:
        yield from (f"  mesh     {row}" for row in mesh_lines(allows.mesh))
    yield f"  rules    {allows.rules}"
    yield from (f"  weaker   {row}" for row in allows.weaker)
    yield f"  requests beyond the usual: {', '.join(allows.allowed) or 'none'}"
    for container in allows.containers:
        yield from (f"  {row}" for row in container_lines(container))
