"""Audit: read verify/ and report in plain words what the manifests and policies allow.

The report needs nothing but these files, so it can be made later and elsewhere. It describes and does not judge; the only
checks are that each policy has the hash in its name, and that every policy named by a manifest is present.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import catalogue
from contrast_tasks.client.audit_policy import describe_policy
from contrast_tasks.client.audit_trust import describe_trust
from contrast_tasks.client.history import MESH_CA_FILE, ROOT_CA_FILE, certificate_sha256
from contrast_tasks.client.policy_files import load_policies
from contrast_tasks.client.verify import FOLDER, MANIFEST
from contrast_tasks.errors import ContrastError, Location, MismatchError, UsageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.difference import Workload, compare, name_of
from contrast_tasks.manifest.policy_document import DocumentError, parse_document
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import number_of
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest, PolicyEntry

_SHORT = 12
_LONGEST = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditResult:
    """The report. generations: number of manifests; workloads: number of those in the manifest in force."""

    text: str
    generations: int
    workloads: int
    trusts_simulated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    number: int
    sha256: str
    manifest: "Manifest"


def run_audit(settings: Settings, *, folder: Path | None = None) -> AuditResult:
    """Return the report on the files of `verify` in `folder`, by default verify/ of the project.

    Raises UsageError if there are none, MismatchError if they do not belong together, ManifestError.
    """
    place = settings.root / FOLDER if folder is None else folder
    generations = _load_generations(place)
    policies = load_policies(place)
    for generation in generations:
        if missing := sorted(generation.manifest.policies.keys() - policies.keys()):
            raise MismatchError(
                f"{place.name}/manifest.{generation.number}.json names policy {missing[0]}, "
                f"{place.name}/ does not have it",
                hint=f"run '{command('verify')}' again",
            )
    active = generations[-1].manifest
    lines = [*_heading(place, generations)]
    for previous, generation in zip([None, *generations], generations, strict=False):
        lines += ["", *_describe_generation(generation, previous)]
    lines += ["", "workloads of the manifest in force"]
    for policy, entry in _by_name(active):
        lines += ["", *_describe_workload(policy, entry, policies[policy])]
    return AuditResult(
        # Names are chosen by the manifest's author and must not control the auditor's terminal.
        text="".join(f"{_printable(line)}\n" for line in lines),
        generations=len(generations),
        workloads=len(active.policies),
        trusts_simulated=active.trusts_simulated,
    )


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _load_generations(place: Path) -> list[_Generation]:
    from contrast_tasks.manifest.codec import parse_manifest
    from contrast_tasks.manifest.validate import ManifestError

    numbers = sorted(
        int(match[1])
        for path in (place.iterdir() if place.is_dir() else ())
        if (match := MANIFEST.fullmatch(path.name))
    )
    if not numbers:
        raise UsageError(f"no manifests in {place.name}/", hint=f"run '{command('verify')}' first")
    if numbers != list(range(len(numbers))):
        gap = next(number for number in range(len(numbers)) if number not in numbers)
        raise MismatchError(
            f"{place.name}/ has no manifest.{gap}.json, the history is not complete",
            hint=f"run '{command('verify')}' again",
        )
    generations = []
    for number in numbers:
        content = (place / f"manifest.{number}.json").read_bytes()
        name = f"{place.name}/manifest.{number}.json"
        try:
            manifest = parse_manifest(content, file=name, tolerated=catalogue.LATER_RULES)
        except ManifestError as error:
            # The error's own hint is about generating; this manifest comes from a Coordinator.
            error.hint = f"the file was changed: run '{command('verify')}' again"
            raise
        generations.append(
            _Generation(number=number, sha256=sha256_hex(content), manifest=manifest)
        )
    return generations


def _heading(place: Path, generations: list[_Generation]) -> Iterator[str]:
    count = len(generations)
    yield f"audit of {place.name}/: {number_of(count, 'manifest')}"
    for label, file in (("root CA", ROOT_CA_FILE), ("mesh CA", MESH_CA_FILE)):
        path = place / file
        if not path.is_file():
            continue
        digest = certificate_sha256(path.read_bytes())
        if not digest:
            raise MismatchError(
                "is not one certificate in PEM form",
                where=Location(file=f"{place.name}/{file}"),
                hint=f"the file was changed: run '{command('verify')}' again",
            )
        yield f"  {label:<8} SHA-256 {digest}"


def _by_name(manifest: "Manifest") -> list[tuple[str, "PolicyEntry"]]:
    return sorted(manifest.policies.items(), key=lambda item: (name_of(item[1]), item[0]))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _describe_generation(now: _Generation, before: _Generation | None) -> Iterator[str]:
    manifest = now.manifest
    yield f"manifest {now.number}  SHA-256 {now.sha256}"
    for line in describe_trust(manifest.reference_values):
        yield f"  trusts   {line}"
    yield from _describe_owners(manifest)
    if before is None:
        for policy, entry in _by_name(manifest):
            yield f"  workload {name_of(entry)}, policy {policy[:_SHORT]}"
        return
    if now.sha256 == before.sha256:
        yield "  changed  nothing: set again, unchanged"
        return
    changes = list(differences(before.manifest, manifest))
    for change in changes or ["nothing but its bytes"]:
        yield f"  changed  {change}"


def _describe_owners(manifest: "Manifest") -> Iterator[str]:
    updates = manifest.workload_owner_digests
    # The manifest has the whole keys; owners can compare their digests.
    recovery = [
        sha256_hex(bytes.fromhex(key_hex)) for key_hex in manifest.seedshare_owner_pub_keys or ()
    ]
    for label, kind, digests in (
        ("updates ", "workload owner", updates),
        ("recovery", "seed share owner", recovery),
    ):
        for digest in digests:
            yield f"  {label} by {kind} key {digest}"
        if not digests:
            yield f"  {label} by no key"
    if manifest.workload_owner_approvals > 1:
        yield f"  updates  only if {manifest.workload_owner_approvals} of them approve"


def differences(before: "Manifest", after: "Manifest") -> Iterator[str]:
    """Yield what an update changed; workloads are matched by their first SAN."""
    found = compare(before, after)
    for each in found.workloads:
        if each.after is None:
            yield f"workload {each.name} was removed"
        elif each.before is None:
            yield f"workload {each.name} was added, policy {each.after.policy[:_SHORT]}"
        else:
            yield from _entry_differences(each.name, each.before, each.after)
    if found.are_reference_values_changed:
        yield "the reference values"
    if found.owners_added or found.owners_removed:
        yield "the workload owner keys"
    was, now = found.approvals
    if was != now:
        yield f"updates need the approval of {number_of(now, 'owner')} instead of {was}"
    if found.are_seedshare_owners_changed:
        yield "the seed share owner keys"


def _entry_differences(name: str, before: Workload, after: Workload) -> Iterator[str]:
    (old_policy, old), (new_policy, new) = before, after
    for what, was, now in (
        ("policy", old_policy[:_SHORT], new_policy[:_SHORT]),
        ("SANs", " ".join(old.sans), " ".join(new.sans)),
        ("workload secret", old.workload_secret_id, new.workload_secret_id),
        ("role", old.role, new.role),
    ):
        if was != now:
            yield f"{name}: {what} {was or '(none)'} became {now or '(none)'}"


def _describe_workload(policy: str, entry: "PolicyEntry", document: bytes) -> Iterator[str]:
    yield f"{name_of(entry)}  policy {policy}"
    yield f"  SANs     {' '.join(entry.sans) or '(none)'}"
    if entry.role:
        yield f"  role     {entry.role}"
    yield f"  secret   {entry.workload_secret_id or '(none)'}"
    try:
        read = parse_document(document)
        # Files beside the policy may open a shell into the guest.
        yield from (
            f"  guest    initdata has {name} too: {_cut(text)}" for name, text in read.others
        )
        described = describe_policy(read.policy)
    except (ContrastError, DocumentError) as err:
        yield f"  policy   cannot be described: {err}; read the file itself"
        return
    if not entry.role:
        yield from (f"  mesh     {row}" for row in described.mesh)
    yield f"  rules    {described.rules}"
    yield from (f"  weaker   {row}" for row in described.weaker)
    yield f"  requests {described.requests}"
    yield from (f"  {row}" for row in described.containers)
