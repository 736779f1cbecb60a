"""Set: make manifest.json the manifest in force at the Coordinator. Source: docs/internals/coordinator.md 13.1.

The client attests the Coordinator against the manifest it is about to set, so a Coordinator that accepts it is one
that the manifest describes. Before anything is sent, manifest and deployment must agree on the policies.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.given import load_manifest
from contrast_tasks.client.history import (
    MESH_CA_FILE,
    ROOT_CA_FILE,
    certificate_sha256,
    check_certificates,
    newest_transition,
)
from contrast_tasks.client.session import Session
from contrast_tasks.errors import Location, MismatchError, NotAuthorised, UsageError
from contrast_tasks.files import norm_path, pretty_json, sha256_hex, write_atomic
from contrast_tasks.kube.annotated import (
    Record,
    deployment_folder,
    load_annotated,
    load_records,
    policies_of,
)
from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash, transition_digest
from contrast_tasks.report.hints import command
from contrast_tasks.settings.load import Settings

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult
    from contrast_tasks.manifest.model import Manifest

SEED_SHARES_FILE = "seed-shares.json"
SEED_SHARES_BACKUP = "seed-shares.json.backup"
_SHORT = 12
_FRAME_BYTES = 8  # what a message adds to a document, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """What set did. generation: 1 for the first manifest; files: what has changed, relative to the project.

    is_repeat: the manifest was in force already; setting it again is an update like any other.
    """

    coordinator: str
    generation: int
    is_repeat: bool
    manifest_sha256: str
    mesh_ca_sha256: str
    files: tuple[str, ...]


def run_set(
    settings: Settings,
    *,
    say: Callable[[str], None],
    coordinator: str | None = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    owner_key_name: str = "",
    paths: Sequence[Path] = (),
    reach: Reach = USUAL_REACH,
) -> SetResult:
    """Set the manifest and write the certificates that belong to it.

    coordinator: host:port, None is the local deployment's. paths: annotated YAML to take the policies from, or
    what it was generated from; by default generate's output. owner_key: PEM file, which messages call `owner_key_name`; by default the first of the
    settings, where absent is no key.
    Raises UsageError for a given key that cannot be read; MismatchError if manifest and deployment disagree or another
    manifest is in force afterwards; NotAuthorised; EvidenceRejected; CoordinatorUnreachable; RequestRefused.
    """
    given = load_manifest(settings, manifest)
    given.say_simulated(say)
    content, meaning, name = given
    policies = _deployed_policies(settings, paths, say)
    check_policies(meaning, policies, name)
    _check_size(content, policies)
    differences = _differences(meaning, settings, name)
    for line in differences:
        say(f"warning: {line}")
    if differences:
        say("  hint: declare it in contrast.toml; the next generate writes the manifest anew")
    key, key_file = _owner_key(settings, owner_key, owner_key_name)
    for line in lock_out_warnings(meaning, key):
        say(f"warning: {line}")
    found = Coordinator.find(settings, coordinator, say=say, reach=reach)
    setting = _Setting(
        root=settings.root,
        content=content,
        name=name,
        policies=[policies[policy] for policy in sorted(meaning.policies)],
        has_seedshare_owners=bool(meaning.seedshare_owner_pub_keys),
        coordinator=found.address,
        say=say,
    )
    try:
        return found.ask(meaning, setting.attempt, key)
    except NotAuthorised as err:
        err.hint = err.hint or _owner_hint(key, key_file)
        raise


def _deployed_policies(
    settings: Settings, paths: Sequence[Path], say: Callable[[str], None]
) -> Mapping[str, bytes]:
    """Return the policies of the annotated YAML by hash; what `generate` read stands for what it wrote from it."""
    policies = policies_of(load_annotated(settings, paths))
    written = deployment_folder(settings)
    if policies or not paths or not written.is_dir():
        return policies
    names = ", ".join(norm_path(path, settings.root) for path in paths)
    say(f"{names} has no policies, those of {norm_path(written, settings.root)} are taken")
    return policies_of(load_annotated(settings))


@dataclass(slots=True, kw_only=True)
class _Setting:
    """One set over several attempts: the Coordinator may have carried out one whose answer was lost on its way.

    sent_after: the transition that the manifest was sent to follow, None as long as it was not sent.
    kept: files of an answer that did arrive.
    """

    root: Path
    content: bytes
    name: str
    policies: Sequence[bytes]
    has_seedshare_owners: bool
    coordinator: str
    say: Callable[[str], None]
    sent_after: bytes | None = None
    kept: tuple[str, ...] = ()

    def attempt(self, session: Session) -> SetResult:
        """Return the result of a set that follows what is in force now, or of the one whose answer was lost."""
        before = _history(session)
        if before is not None and self._is_done(before):
            return self._finish_lost(before)
        is_repeat = before is not None and before.manifests[-1:] == (self.content,)
        if is_repeat:
            self.say(
                f"{self.name} is in force already, setting it again rotates the mesh CA all the same"
            )
        self.sent_after = NO_TRANSITION if before is None else newest_transition(before)
        done = session.set_manifest(self.content, self.policies, self.sent_after)
        if done.seed_shares_doc is not None:
            # First of all: nobody can ask for them a second time.
            self.kept = self._keep_shares(pretty_json(done.seed_shares_doc))
        after = session.get_manifests()
        self._require_ours(after, done)
        return self._result(after, is_repeat=is_repeat)

    def _is_done(self, found: "ManifestHistory") -> bool:
        if self.sent_after is None:
            return False
        return newest_transition(found) == transition_digest(
            manifest_hash(self.content), self.sent_after
        )

    def _finish_lost(self, found: "ManifestHistory") -> SetResult:
        self._check_certificates(found)
        self.say("the coordinator had set it, only its answer was lost")
        if self.sent_after == NO_TRANSITION and self.has_seedshare_owners and not self.kept:
            self.say(
                "warning: the seed shares were lost with the answer: this coordinator cannot be recovered after a "
                "restart, begin a new history while that costs nothing"
            )
        return self._result(found, is_repeat=False)

    def _require_ours(self, found: "ManifestHistory", done: "SetManifestResult") -> None:
        for answer in (done, found):
            self._check_certificates(answer)
        presented = found.manifests[-1] if found.manifests else b""
        if presented != self.content:
            what = "another manifest"
        elif (found.root_ca_pem, found.mesh_ca_pem) != (done.root_ca_pem, done.mesh_ca_pem):
            what = "another CA"
        else:
            return
        digest = sha256_hex(presented) if presented else "none"
        raise MismatchError(
            f"coordinator {self.coordinator} has {what} in force than the one just set\n"
            f"  expected  {sha256_hex(self.content)}   {self.name}, mesh CA {_short(done.mesh_ca_pem)}\n"
            f"  presented {digest}   mesh CA {_short(found.mesh_ca_pem)}",
            hint=f"somebody else may have set one at the same time: run '{command('verify')}'",
        )

    def _check_certificates(self, answer: "ManifestHistory | SetManifestResult") -> None:
        subject = f"coordinator {self.coordinator}"
        check_certificates(answer.root_ca_pem, answer.mesh_ca_pem, subject, datetime.now(UTC))

    def _result(self, found: "ManifestHistory", *, is_repeat: bool) -> SetResult:
        outputs = {ROOT_CA_FILE: found.root_ca_pem, MESH_CA_FILE: found.mesh_ca_pem}
        return SetResult(
            coordinator=self.coordinator,
            generation=len(found.manifests),
            is_repeat=is_repeat,
            manifest_sha256=sha256_hex(self.content),
            mesh_ca_sha256=certificate_sha256(found.mesh_ca_pem),
            files=(*self._write(outputs), *self.kept),
        )

    def _keep_shares(self, content: bytes) -> tuple[str, ...]:
        """Write the shares of a new Coordinator; those of the one before stay in a file beside them."""
        kept: tuple[str, ...] = ()
        # Whatever is wrong with the earlier ones, the new ones exist only here.
        with contextlib.suppress(OSError):
            earlier = (self.root / SEED_SHARES_FILE).read_bytes()
            if earlier != content:
                kept = self._write({SEED_SHARES_BACKUP: earlier})
        return (*self._write({SEED_SHARES_FILE: content}), *kept)

    def _write(self, outputs: Mapping[str, bytes]) -> tuple[str, ...]:
        return tuple(
            file for file, content in outputs.items() if write_atomic(self.root / file, content)
        )


def _short(pem: bytes) -> str:
    return certificate_sha256(pem)[:_SHORT]


def _history(session: Session) -> "ManifestHistory | None":
    """Return what is in force, None before the first manifest."""
    from contrast_tasks.api.errors import REASON_NO_MANIFEST, CoordinatorNotReady

    try:
        return session.get_manifests()
    except CoordinatorNotReady as err:
        if err.reason != REASON_NO_MANIFEST:
            raise
        return None


def check_policies(manifest: "Manifest", policies: Mapping[str, bytes], name: str) -> None:
    """Raise MismatchError unless the manifest names exactly the policies of the deployment."""
    missing = sorted(manifest.policies.keys() - policies.keys())
    unknown = sorted(policies.keys() - manifest.policies.keys())
    if not missing and not unknown:
        return
    lines = [
        f"  {name} names {policy} ({', '.join(manifest.policies[policy].sans)}), "
        "no deployed pod has this policy"
        for policy in missing
    ]
    lines += [
        f"  a deployed pod has policy {policy}, {name} does not name it" for policy in unknown
    ]
    raise MismatchError(
        "manifest and deployment do not have the same policies\n" + "\n".join(lines),
        hint=f"generate, deploy and set belong together: '{command('deploy set')}'",
    )


def _check_size(manifest: bytes, policies: Mapping[str, bytes]) -> None:
    """Raise UsageError if a Coordinator would not take them: it says so only after all of it was sent."""
    from contrast_tasks.api.limits import MAX_OBJECT_BYTES, MAX_REQUEST_BYTES

    for what, document in {"the manifest": manifest, **policies}.items():
        if len(document) > MAX_OBJECT_BYTES:
            found = what if document is manifest else f"policy {what}"
            raise UsageError(
                f"{found} has {len(document)} bytes, a coordinator takes at most {MAX_OBJECT_BYTES}"
            )
    size = sum(len(document) + _FRAME_BYTES for document in (manifest, *policies.values()))
    if size > MAX_REQUEST_BYTES:
        raise UsageError(
            f"the manifest and its {len(policies)} policies have {size} bytes, "
            f"a coordinator takes at most {MAX_REQUEST_BYTES}",
            hint="give a part of the workloads a coordinator of their own",
        )


def _differences(manifest: "Manifest", settings: Settings, name: str) -> list[str]:
    """Return where entries differ from what was generated: allowed, but seldom meant."""
    by_policy: dict[str, list[Record]] = {}
    for record in load_records(settings).values():
        by_policy.setdefault(record.policy_sha256, []).append(record)
    found: list[str] = []
    for policy, records in by_policy.items():
        entry = manifest.policies.get(policy)
        if entry is None:
            continue
        # Workloads with the same policy share one entry, which has the names of all.
        sans = {san for record in records for san in record.sans}
        secret_ids = {record.workload_secret_id for record in records}
        keys = ", ".join(record.key for record in records)
        if set(entry.sans) != sans:
            here, there = " ".join(entry.sans), " ".join(records[0].sans)
            found.append(f"{name} has SANs {here} for {keys}, generated was {there}")
        if entry.workload_secret_id not in secret_ids:
            here, there = entry.workload_secret_id, records[0].workload_secret_id
            found.append(f"{name} has WorkloadSecretID {here} for {keys}, generated was {there}")
    return found


def _owner_key(settings: Settings, given: Path | None, given_name: str) -> tuple[Any, str]:
    """Return the owner's private key, None if there is no file, and the file's name."""
    from contrast_tasks.manifest.keys import parse_workload_owner

    names = settings.workload_owner_keys
    path = given or (settings.root / names[0] if names else None)
    if path is None:
        return None, ""
    name = (given_name or str(given)) if given else names[0]
    try:
        pem = path.read_bytes()
    except FileNotFoundError:
        if given is None:
            return None, name
        raise _unreadable("no such file", name) from None
    except OSError as err:
        raise _unreadable((err.strerror or "").lower(), name) from err
    if given is None and b"PRIVATE KEY" not in pem:
        # The settings may list public keys of owners who are not here.
        return None, name
    return parse_workload_owner(pem, file=name), name


def _unreadable(reason: str, name: str) -> UsageError:
    return UsageError(
        f"cannot read the workload owner key: {reason}",
        where=Location(file=name),
        hint="name the private key with --workload-owner-key",
    )


def lock_out_warnings(manifest: "Manifest", key: Any) -> list[str]:
    """Return what setting this manifest makes impossible for the holder of `key` (None for no key)."""
    from contrast_tasks.manifest.keys import workload_owner_digest

    listed = manifest.workload_owner_key_digests
    if not listed:
        return ["the manifest lists no workload owner keys: it can never be updated"]
    if key is None:
        return ["no workload owner key is here: this project cannot update the manifest later"]
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    digest = workload_owner_digest(pem)
    if digest not in listed:
        return [f"the manifest does not list our owner key {digest}: this locks us out of updates"]
    return []


def _owner_hint(key: Any, file: str) -> str:
    if key is None:
        return f"a manifest is in force and needs an owner's key to change; found none{f' at {file}' if file else ''}"
    return f"the manifest in force does not list the key in {file}"
