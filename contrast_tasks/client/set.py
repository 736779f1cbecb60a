"""Set: make manifest.json the manifest in force at the Coordinator. Source: docs/internals/coordinator.md 13.1.

The client attests the Coordinator against the manifest it is about to set, so a Coordinator that accepts it is one
that the manifest describes. Before anything is sent, manifest and deployment must agree on the policies.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.client.before_set import (
    check_policies,
    check_size,
    deployed_policies,
    differences_from_generated,
    load_owner_key,
    lock_out_warnings,
    owner_hint,
)
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
from contrast_tasks.errors import MismatchError, NotAuthorised
from contrast_tasks.files import pretty_json, sha256_hex, write_atomic
from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash, transition_digest
from contrast_tasks.report.hints import command
from contrast_tasks.settings.load import Settings

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult

SEED_SHARES_FILE = "seed-shares.json"
SEED_SHARES_BACKUP = "seed-shares.json.backup"
_SHORT = 12


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
    policies = deployed_policies(settings, paths, say)
    check_policies(meaning, policies, name)
    check_size(content, policies)
    differences = differences_from_generated(meaning, settings, name)
    for line in differences:
        say(f"warning: {line}")
    if differences:
        say("  hint: declare it in contrast.toml; the next generate writes the manifest anew")
    key, key_file = load_owner_key(settings, owner_key, owner_key_name)
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
        err.hint = err.hint or owner_hint(key, key_file)
        raise


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
        if done.seed_shares is not None:
            # First of all: nobody can ask for them a second time.
            self.kept = self._keep_shares(pretty_json(done.seed_shares))
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
