"""Every rule a manifest must keep, each with a stable code; all findings are collected, never only the first.

M001 not JSON; M002 unknown member; M003 wrong type; M004 absent member; M010-M019 policies; M020, M021 the number of
Coordinators; M030-M038 SEV-SNP; M040-M048 TDX; M050-M053 owner keys; M060, M061 simulated evidence.
A value only the user can know is of the class missing: an error whose rule begins with `missing-`.
Source: docs/internals/manifest.md 2; M003, M004, M061 are ours.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from contrast_tasks import catalogue
from contrast_tasks.errors import Location, MissingReferenceValues
from contrast_tasks.findings import Finding, Findings, FindingsError, Severity
from contrast_tasks.manifest._check_snp import check_simulated, check_snp
from contrast_tasks.manifest._check_tdx import check_tdx
from contrast_tasks.manifest._checks import MISSING_PREFIX, Collector, shown
from contrast_tasks.manifest._json_form import to_json
from contrast_tasks.manifest.keys import SEEDSHARE_BITS_MIN, parse_pkcs1
from contrast_tasks.manifest.model import ROLE_COORDINATOR, Manifest
from contrast_tasks.pointers import Path, to_pointer
from contrast_tasks.sans import san_kind

FILE_NAME = "manifest.json"
TOP_MEMBERS = (
    "Policies",
    "ReferenceValues",
    "WorkloadOwnerKeyDigests",
    "SeedshareOwnerPubKeys",
)
ALIASES = {"SeedshareOwnerKeys": "SeedshareOwnerPubKeys"}
_HASH_DIGITS = 64
_HEX = frozenset("0123456789abcdefABCDEF")
_ROLES = ("", ROLE_COORDINATOR)


class ManifestError(FindingsError):
    """A manifest breaks rules; carries every finding. Exit code 13 instead of 12 if values are only missing."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        super().__init__(tuple(findings))
        errors = [entry for entry in self.findings if entry.severity is Severity.ERROR]
        first = errors[0] if errors else self.findings[0]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        self.args = (f"manifest is not valid: {first.message}{more}",)
        self.where = first.where
        self.hint = first.hint or "run 'contrast-tasks generate' to make the manifest anew"

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # depends on the findings
        """Return 13 when only values the user must fill in are missing, else 12."""
        if only_missing(self.findings):
            return MissingReferenceValues.exit_code
        return super().exit_code


def is_missing(finding: Finding) -> bool:
    """Return whether a finding says that a value only the user can know is not there yet."""
    return finding.rule.startswith(MISSING_PREFIX)


def only_missing(findings: Iterable[Finding]) -> bool:
    """Return whether there are errors and all of them are of the class missing."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return bool(errors) and all(map(is_missing, errors))


def validate_manifest(
    manifest: Manifest | Mapping[str, Any],
    *,
    file: str = FILE_NAME,
    line: Callable[[str], int | None] = lambda _: None,
    lenient: bool = False,
    allow_multiple_coordinators: bool = False,
) -> list[Finding]:
    """Return every finding about a manifest, in the order of its members.

    manifest: the model, or a parsed JSON document. line: pointer to line in the file, when there is one.
    lenient: unknown members are warnings instead of errors.
    """
    document = to_json(manifest) if isinstance(manifest, Manifest) else manifest

    def locate(path: Path) -> Location:
        pointer = to_pointer(path)
        return Location(file=file, line=line(pointer), pointer=pointer)

    check = Collector(findings=Findings(locate), lenient=lenient)
    if not isinstance(document, dict):
        check.report(catalogue.NOT_JSON, (), f"is {shown(document)}, expected a JSON object")
        return check.findings
    top = check.members(document, (), known=TOP_MEMBERS, required=TOP_MEMBERS, aliases=ALIASES)
    top = top or {}
    if "Policies" in top:
        _check_policies(check, top["Policies"], allow_multiple=allow_multiple_coordinators)
    if "ReferenceValues" in top:
        _check_reference_values(check, top["ReferenceValues"])
    if "WorkloadOwnerKeyDigests" in top:
        _check_workload_owners(check, top["WorkloadOwnerKeyDigests"])
    if "SeedshareOwnerPubKeys" in top:
        _check_seedshare_owners(check, top["SeedshareOwnerPubKeys"])
    return check.findings


def _check_policies(check: Collector, value: Any, *, allow_multiple: bool) -> None:
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
            reason = f"is the same as that of {secrets[secret]}, the two share their secret"
            check.report(catalogue.SHARED_SECRET_ID, (*path, key, "WorkloadSecretID"), reason)
    if coordinators == 0:
        hint = "add the Coordinator's resources to the sources, or set coordinator.include"
        reason = "has no entry with the role coordinator, expected one"
        check.report(catalogue.NO_COORDINATOR_POLICY, path, reason, hint=hint)
    elif coordinators > 1 and not allow_multiple:
        reason = f"has {coordinators} entries with the role coordinator, expected one"
        check.report(catalogue.MANY_COORDINATORS, path, reason)


def _check_hash(check: Collector, key: str, path: Path) -> None:
    if not _HEX.issuperset(key):
        reason = f"key is not hex, expected {_HASH_DIGITS} lower-case hex digits"
        check.report(catalogue.POLICY_HASH_NOT_HEX, path, reason)
    elif len(key) != _HASH_DIGITS:
        reason = f"key has {len(key)} hex digits, expected {_HASH_DIGITS}"
        check.report(catalogue.POLICY_HASH_LENGTH, path, reason)
    elif key != key.lower():
        reason = "key has upper-case digits, expected lower case, which hashes are compared in"
        check.report(catalogue.POLICY_HASH_CAPITALS, path, reason)


def _check_entry(check: Collector, value: Any, path: Path) -> dict[str, Any]:
    known = ("SANs", "WorkloadSecretID", "Role")
    entry = check.members(value, path, known=known, required=("SANs",))
    if entry is None:
        return {}
    if entry.get("Role", "") not in _ROLES:
        reason = f"is {shown(entry['Role'])}, expected {ROLE_COORDINATOR!r} or no role"
        check.report(catalogue.ROLE, (*path, "Role"), reason)
    check.optional(entry, path, "WorkloadSecretID", str)
    place = (*path, "SANs")
    sans = check.elements(entry.get("SANs"), place)
    for index, san in enumerate(sans):
        if not isinstance(san, str) or san_kind(san) is None:
            reason = f"is {shown(san)}, expected an IP address, a DNS name, '*' or a URI"
            check.report(catalogue.SAN, (*place, index), reason)
    if len({str(san) for san in sans}) != len(sans):
        check.report(catalogue.DUPLICATE_SAN, place, "holds a name twice")
    return entry


def _check_reference_values(check: Collector, value: Any) -> None:
    path: Path = ("ReferenceValues",)
    rules = {"snp": check_snp, "tdx": check_tdx, "simulated": check_simulated}
    members = check.members(value, path, known=tuple(rules)) if value is not None else {}
    if members is None:
        return
    counts = {}
    for name, rule in rules.items():
        place = (*path, name)
        entries = check.elements(members.get(name), place)
        counts[name] = len(entries)
        for index, entry in enumerate(entries):
            rule(check, entry, (*place, index))
    if not any(counts.values()):
        hint = "the platform may not be supported"
        reason = "has no entry, expected at least one in snp or tdx"
        check.report(catalogue.NO_REFERENCE_VALUES, path, reason, hint=hint)
    if counts["simulated"] and (counts["snp"] or counts["tdx"]):
        reason = "mixes simulated entries with those of real hardware, expected one of the two"
        check.report(catalogue.MIXED_PLATFORMS, path, reason)


def _check_workload_owners(check: Collector, value: Any) -> None:
    path: Path = ("WorkloadOwnerKeyDigests",)
    digests = check.elements(value, path)
    for index, digest in enumerate(digests):
        place = (*path, index)
        if (
            check.hex(digest, place, 32, entry=catalogue.WORKLOAD_OWNER)
            and digest in digests[:index]
        ):
            check.report(catalogue.WORKLOAD_OWNER, place, "is listed before")
    if not value:
        check.report(catalogue.IMMUTABLE, path, "is empty, nobody may update this manifest")


def _check_seedshare_owners(check: Collector, value: Any) -> None:
    path: Path = ("SeedshareOwnerPubKeys",)
    keys = check.elements(value, path)
    for index, key in enumerate(keys):
        reason = _seedshare_problem(key)
        if not reason and key in keys[:index]:
            reason = "is listed before"
        if reason:
            check.report(catalogue.SEEDSHARE_OWNER, (*path, index), reason)
    if not value:
        check.report(catalogue.NO_RECOVERY, path, "is empty, the Coordinator cannot be recovered")


def _seedshare_problem(key: Any) -> str:
    wanted = "expected a PKCS#1 RSA public key in lower-case hex"
    if not isinstance(key, str) or not _HEX.issuperset(key) or len(key) % 2:
        return f"is {shown(key)}, {wanted}"
    if key != key.lower():
        return f"has upper-case hex digits, {wanted}"
    try:
        modulus, _ = parse_pkcs1(bytes.fromhex(key))
    except ValueError as err:
        return f"does not decode ({err}), {wanted}"
    if modulus.bit_length() < SEEDSHARE_BITS_MIN:
        return f"has {modulus.bit_length()} bits, expected at least {SEEDSHARE_BITS_MIN}"
    return ""
