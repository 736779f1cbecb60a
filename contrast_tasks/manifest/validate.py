"""The rules of a manifest, each with a stable code; all findings are collected, not only the first.

M001 not JSON; M002 unknown member; M003 wrong type; M004 absent member; M005 member that the release does not read; M010-M019
policies; M020, M021 the number of Coordinators; M022 secret ids; M030-M038 SEV-SNP; M040-M048 TDX; M050-M054 owner keys; M060, M061 simulated
evidence. A value that only the user knows may be missing: `catalogue.MISSING_VALUES`.
Source: docs/internals/manifest.md 2; docs/internals/releases.md 2.2 (what differs by release); M003 to M005, M061 are ours.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.declare.documents import to_json
from contrast_tasks.declare.shapes import HEX
from contrast_tasks.errors import Location, MissingReferenceValues
from contrast_tasks.findings import Finding, Findings, FindingsError, Severity
from contrast_tasks.json_text import shown
from contrast_tasks.manifest._checks import Collector
from contrast_tasks.manifest.entries import transit_name
from contrast_tasks.manifest.forms import manifest_document
from contrast_tasks.manifest.model import APPROVALS, HASH, Manifest, PolicyEntry
from contrast_tasks.platforms import SNP_PRODUCTS
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.releases.choose import first_with
from contrast_tasks.releases.table import RELEASES, Release
from contrast_tasks.sans import is_unsound_uri
from contrast_tasks.trusted_guests import FIXED_GUEST_POLICY, GuestPolicy, ReferenceValues

FILE_NAME = "manifest.json"
_OWNERS = ("WorkloadOwnerKeyDigests", "WorkloadOwnerPubKeys")
_RECOVERERS = "SeedshareOwnerPubKeys"
_APPROVALS = "WorkloadOwnerApprovals"
# What gives the host access to the guest's memory.
_DANGEROUS = ("MigrateMA", "Debug")


class ManifestError(FindingsError):
    """A manifest breaks rules; `findings` has all. The exit code is 13 instead of 12 if values are only missing."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        super().__init__(tuple(findings))
        errors = [entry for entry in self.findings if entry.severity is Severity.ERROR]
        first = errors[0] if errors else self.findings[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        self.args = (f"manifest is not valid: {first.message}{more}",)
        self.where = first.where
        self.hint = first.hint or "run 'contrast-tasks generate' to write the manifest again"

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # depends on the findings
        """Return 13 if only values that the user must fill in are missing, else 12."""
        if only_missing(self.findings):
            return MissingReferenceValues.exit_code
        return super().exit_code


def is_missing(finding: Finding) -> bool:
    """Return whether a finding is about a missing value that only the user knows."""
    return finding.entry in catalogue.MISSING_VALUES


def only_missing(findings: Iterable[Finding]) -> bool:
    """Return whether there are errors and all of them are about missing values."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return bool(errors) and all(map(is_missing, errors))


def validate_manifest(
    manifest: Manifest | Mapping[str, Any],
    *,
    release: Release | None = None,
    file: str = FILE_NAME,
    line: Callable[[str], int | None] = lambda _: None,
    lenient: bool = False,
) -> list[Finding]:
    """Return every finding about a manifest, in the order of its members.

    manifest: the model, or a parsed JSON document. release: the one whose Coordinator reads it; None: a manifest of any release
    will do. line: returns the line of a pointer in the file, if there is a file. lenient: unknown members are warnings.
    """
    document = _document_of(manifest, release) if isinstance(manifest, Manifest) else manifest

    def locate(path: Path) -> Location:
        pointer = to_pointer(path)
        return Location(file=file, line=line(pointer), pointer=pointer)

    check = Collector(Findings(locate), release=release, lenient=lenient)
    if not isinstance(document, dict):
        check.report(catalogue.NOT_JSON, (), f"is {shown(document)}, expected a JSON object")
        return check.findings
    top = check.members(document, (), Manifest) or {}
    if "Policies" in top:
        _check_policies(check, top["Policies"])
    if "ReferenceValues" in top:
        _check_reference_values(check, top["ReferenceValues"], is_fixed=_is_fixed(top, release))
    _check_owners(check, top)
    return check.findings


def _document_of(manifest: Manifest, release: Release | None) -> dict[str, Any]:
    if release:
        return manifest_document(manifest, release.manifest)
    document: dict[str, Any] = to_json(manifest)
    # One list is enough; which one depends on the release.
    return {_OWNERS[0]: None, **document}


def _is_fixed(top: Mapping[str, Any], release: Release | None) -> bool:
    """Return whether every release that the manifest may be for prescribes the guest policy; its owner list tells them apart."""
    rows = (release,) if release else RELEASES
    return all(row.manifest.is_guest_policy_fixed for row in rows if row.manifest.owners in top)


def _check_owners(check: Collector, top: Mapping[str, Any]) -> None:
    for entry in Manifest.members:
        name = next((name for name in (entry.name, *entry.old) if name in top), "")
        if name and entry.name in (*_OWNERS, _RECOVERERS, _APPROVALS):
            check.member(entry, top[name], (name,))
            if entry.name == _RECOVERERS and not top[name]:
                reason = "is empty, so the Coordinator cannot be recovered"
                check.report(catalogue.NO_RECOVERY, (name,), reason)
    lists = [name for name in _OWNERS if name in top]
    if not lists and check.release is None:
        reason = f"has neither '{_OWNERS[0]}' nor '{_OWNERS[1]}', expected one"
        check.report(catalogue.ABSENT_MEMBER, (), reason)
    elif not any(top[name] for name in lists):
        name = lists[0] if lists else check.release.manifest.owners if check.release else ""
        what = "is empty" if lists else "is absent"
        reason = f"{what}, so this manifest can never be updated"
        check.report(catalogue.IMMUTABLE, (name,), reason)
    _check_approvals(check, top)


def _check_approvals(check: Collector, top: Mapping[str, Any]) -> None:
    wanted: Any = top.get(_APPROVALS)
    keys = top.get(_OWNERS[1])
    # Only a whole key verifies a signature, and one connection has one client key.
    count = len(keys) if isinstance(keys, list) else 0
    if APPROVALS.accepts(wanted) and count < wanted != 1:
        reason = f"is {wanted}, expected at most {count}, the number of keys in '{_OWNERS[1]}'"
        hint = None
        if top.get(_OWNERS[0]):
            # Digests of keys verify nothing.
            whole = first_with(lambda row: row.manifest.owners == _OWNERS[1])
            hint = f"set release under [runtime] to {whole} or later, whose manifests list whole keys, or lower approvals"
        check.report(catalogue.APPROVALS, (_APPROVALS,), reason, hint)


def _check_policies(check: Collector, value: Any) -> None:
    path: Path = ("Policies",)
    if value is None or value == {}:
        check.report(catalogue.NO_POLICIES, path, "is empty, expected at least one policy")
    elif not isinstance(value, dict):
        check.wrong_type(path, value, "an object")
        return
    coordinators = 0
    secrets: dict[str, str] = {}
    for key, entry in (value or {}).items():
        _check_hash(check, key, (*path, key))
        members = _check_entry(check, entry, (*path, key))
        coordinators += members.get("Role") == ROLE_COORDINATOR
        secret = members.get("WorkloadSecretID")
        if isinstance(secret, str) and secret and secrets.setdefault(secret, key) != key:
            reason = f"is the same as that of {secrets[secret]}, so the two share their secret"
            check.report(catalogue.SHARED_SECRET_ID, (*path, key, "WorkloadSecretID"), reason)
    for secret, key in secrets.items():
        if (name := transit_name(secret)) in secrets:
            reason = f"is '{secret}', whose secret would begin with a transit key of '{name}' of {secrets[name]}"
            check.report(catalogue.SECRET_IS_KEY, (*path, key, "WorkloadSecretID"), reason)
    if coordinators == 0:
        hint = "add the Coordinator's resources to the sources, or set coordinator.include"
        reason = "has no entry with the role coordinator, expected one"
        check.report(catalogue.NO_COORDINATOR_POLICY, path, reason, hint=hint)
    elif coordinators > 1:
        reason = f"has {coordinators} entries with the role coordinator, expected one"
        check.report(catalogue.MANY_COORDINATORS, path, reason)


def _check_hash(check: Collector, key: str, path: Path) -> None:
    if not HEX.issuperset(key):
        reason = f"key is not hex, expected {HASH.wanted}"
        check.report(catalogue.POLICY_HASH_NOT_HEX, path, reason)
    elif len(key) != 2 * HASH.size_bytes:
        reason = f"key has {len(key)} hex digits, expected {2 * HASH.size_bytes}"
        check.report(catalogue.POLICY_HASH_LENGTH, path, reason)
    elif key != key.lower():
        reason = "key has upper-case digits, expected lower case, in which hashes are compared"
        check.report(catalogue.POLICY_HASH_CAPITALS, path, reason)


def _check_entry(check: Collector, value: Any, path: Path) -> dict[str, Any]:
    entry = check.record(PolicyEntry, value, path)
    sans = entry.get("SANs")
    if isinstance(sans, list) and len(set(map(str, sans))) != len(sans):
        check.report(catalogue.DUPLICATE_SAN, (*path, "SANs"), "has a name twice")
    for index, san in enumerate(sans if isinstance(sans, list) else ()):
        if isinstance(san, str) and is_unsound_uri(san):
            reason = f"is {shown(san)}, a URI with a malformed host or escape"
            check.report(catalogue.UNSOUND_SAN, (*path, "SANs", index), reason)
    return entry


def _check_reference_values(check: Collector, value: Any, *, is_fixed: bool) -> None:
    path: Path = ("ReferenceValues",)
    members = check.members({} if value is None else value, path, ReferenceValues)
    if members is None:
        return
    counts = {}
    release = check.release
    for member in ReferenceValues.members:
        name = member.name
        # Simulated evidence is ours and changes with no release.
        check.release = None if name == "simulated" else release
        entries = members.get(name)
        if not isinstance(entries, list):
            check.member(member, entries, (*path, name))
            entries = []
        counts[name] = len(entries)
        for index, entry in enumerate(entries):
            check.setting = _setting_of_tcb(entry) if name == "snp" else ""
            found = check.record(member.shape.element, entry, (*path, name, index))
            if isinstance(policy := found.get("GuestPolicy"), dict):
                place = (*path, name, index, "GuestPolicy")
                _check_guest_policy(check, policy, place, is_fixed=is_fixed or name == "simulated")
    check.release = release
    if not any(counts.values()):
        reason = "has no entry, expected at least one in snp or tdx"
        check.report(catalogue.NO_REFERENCE_VALUES, path, reason)
    if counts["simulated"] and (counts["snp"] or counts["tdx"]):
        reason = "mixes simulated entries with those of real hardware, expected one of the two"
        check.report(catalogue.MIXED_PLATFORMS, path, reason)


def _check_guest_policy(
    check: Collector, policy: Mapping[str, Any], path: Path, *, is_fixed: bool
) -> None:
    for member in GuestPolicy.members:
        value = policy.get(member.name, member.absent)
        permitted = FIXED_GUEST_POLICY[member.name]
        if not member.shape.accepts(value) or value in permitted:
            continue
        if is_fixed:
            wanted = " or ".join(map(shown, permitted))
            reason = f"is {shown(value)}, expected {wanted}"
            check.report(catalogue.GUEST_POLICY, (*path, member.name), reason)
        elif member.name in _DANGEROUS:
            reason = "is true, so the host may read the guest's memory"
            place = (*path, member.name)
            check.report(catalogue.GUEST_POLICY, place, reason, is_milder=True)


def _setting_of_tcb(entry: Any) -> str:
    product = entry.get("ProductName") if isinstance(entry, dict) else None
    name = product if product in SNP_PRODUCTS else SNP_PRODUCTS[0]
    return f"reference_values.snp.{name}.minimum_tcb"
