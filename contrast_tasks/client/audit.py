"""Audit: read verify/ and report in plain words what the manifests and policies allow.

The report needs nothing but these files, so it can be made later and elsewhere. It describes and does not judge; the only
checks are that each policy has the hash in its name, and that every policy named by a manifest is present.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks import catalogue
from contrast_tasks.client.audit_policy import describe_policy
from contrast_tasks.client.audit_report import AuditedManifest, AuditedWorkload, AuditReport, Since
from contrast_tasks.client.audit_trust import describe_trust
from contrast_tasks.client.history import MESH_CA_FILE, ROOT_CA_FILE, certificate_sha256
from contrast_tasks.client.policy_files import load_policies
from contrast_tasks.client.verify import FOLDER, MANIFEST
from contrast_tasks.errors import ContrastError, Location, MismatchError, UsageError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.manifest.difference import Workload, compare, name_of
from contrast_tasks.manifest.policy_document import DocumentError, parse_document
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import number_of
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest, PolicyEntry

_SHORT = 12
# Digest of the manifest that was audited last, in the folder of `verify`.
_MARK = "audited"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Generation:
    number: int
    sha256: str
    manifest: "Manifest"


def run_audit(settings: Settings, *, folder: Path | None = None, mark: bool = False) -> AuditReport:
    """Return the report on the files of `verify` in `folder`, by default verify/ of the project.

    mark: note that the manifest in force was audited, so that later reports say what changed since.
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
    newest = generations[-1]
    audit = AuditReport(
        folder=place.name,
        root_ca_sha256=_ca_sha256(place, ROOT_CA_FILE),
        mesh_ca_sha256=_ca_sha256(place, MESH_CA_FILE),
        generations=tuple(
            _generation(generation, previous)
            for previous, generation in zip([None, *generations], generations, strict=False)
        ),
        since=_since(place, generations),
        workloads=tuple(
            _workload(policy, entry, policies[policy])
            for policy, entry in _by_name(newest.manifest)
        ),
        trusts_simulated=newest.manifest.trusts_simulated,
    )
    if mark:
        write_atomic(place / _MARK, f"{newest.sha256}\n".encode())
    return audit


def note_of_age(settings: Settings, audit: AuditReport) -> str:
    """Return a line for people if the project's manifest is not the newest in the report; empty if it is, or there is none."""
    name = settings.manifest
    try:
        ours = sha256_hex((settings.root / name).read_bytes())
    except OSError:
        return ""
    if not audit.generations or audit.generations[-1].sha256 == ours:
        return ""
    again = f"'{command('verify')}' fetches what is in force"
    return f"{name} is another manifest than the newest in {audit.folder}/; {again}"


def _since(place: Path, generations: Sequence[_Generation]) -> Since | None:
    """Return what changed since the manifest that was marked as audited, None if none was."""
    try:
        marked = (place / _MARK).read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        marked = ""
    audited = next((each for each in reversed(generations) if each.sha256 == marked), None)
    if audited is None:
        return Since(number=None, changes=())
    changes = differences(audited.manifest, generations[-1].manifest)
    return Since(number=audited.number, changes=tuple(changes))


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


def _ca_sha256(place: Path, file: str) -> str:
    """Return the digest of a CA certificate as hex, "" if it is not there."""
    path = place / file
    if not path.is_file():
        return ""
    digest = certificate_sha256(path.read_bytes())
    if not digest:
        raise MismatchError(
            "is not one certificate in PEM form",
            where=Location(file=f"{place.name}/{file}"),
            hint=f"the file was changed: run '{command('verify')}' again",
        )
    return digest


def _by_name(manifest: "Manifest") -> list[tuple[str, "PolicyEntry"]]:
    return sorted(manifest.policies.items(), key=lambda item: (name_of(item[1]), item[0]))


def _generation(now: _Generation, before: _Generation | None) -> AuditedManifest:
    manifest = now.manifest
    changes: list[str] = []
    if before is not None and now.sha256 != before.sha256:
        changes = list(differences(before.manifest, manifest)) or ["nothing but its bytes"]
    elif before is not None:
        changes = ["nothing: set again, unchanged"]
    return AuditedManifest(
        number=now.number,
        sha256=now.sha256,
        trusts=tuple(describe_trust(manifest.reference_values)),
        update_keys=tuple(manifest.workload_owner_digests),
        approvals=manifest.workload_owner_approvals,
        # The manifest has the whole keys; owners can compare their digests.
        recovery_keys=tuple(
            sha256_hex(bytes.fromhex(key)) for key in manifest.seedshare_owner_pub_keys or ()
        ),
        changes=tuple(changes),
        workloads=tuple((name_of(entry), policy) for policy, entry in _by_name(manifest)),
    )


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


def _workload(policy: str, entry: "PolicyEntry", document: bytes) -> AuditedWorkload:
    others: tuple[tuple[str, str], ...] = ()
    problem, described = "", None
    try:
        read = parse_document(document)
        # Files beside the policy may open a shell into the guest.
        others = tuple(read.others)
        described = describe_policy(read.policy)
    except (ContrastError, DocumentError) as err:
        problem = str(err)
    return AuditedWorkload(
        name=name_of(entry),
        policy=policy,
        sans=tuple(entry.sans),
        role=entry.role,
        secret_id=entry.workload_secret_id,
        guest_files=others,
        problem=problem,
        allows=described,
    )
