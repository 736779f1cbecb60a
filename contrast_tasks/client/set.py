"""Set: put manifest.json in force at the Coordinator. Source: docs/internals/coordinator.md 13.1.

The client attests the Coordinator against the manifest it is about to set. Before anything is sent, manifest and
deployment must have the same policies.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.client.before_set import (
    check_policies,
    denied_hint,
    differences_from_generated,
    load_owner_key,
    lock_out_warnings,
    read_deployed,
    with_key_files,
)
from contrast_tasks.client.coordinator import USUAL_REACH, Coordinator, Reach
from contrast_tasks.client.deployed import Given
from contrast_tasks.client.history import (
    certificate_sha256,
    check_certificates,
    newest_transition,
)
from contrast_tasks.client.honoured import (
    refuse_ignored_approvals,
    refuse_lost_owners,
    refuse_unhonoured,
)
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.seed_shares import are_same_seed, write_shares
from contrast_tasks.client.session import Session
from contrast_tasks.client.transitions import LATEST_FILE
from contrast_tasks.client.verify import FOLDER, write_certificates
from contrast_tasks.errors import MismatchError, NotAuthorised
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash, transition_digest
from contrast_tasks.report.hints import command
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.outputs import SEED_SHARES_FILE

if TYPE_CHECKING:
    from contrast_tasks.api.userapi import ManifestHistory, SetManifestResult
    from contrast_tasks.manifest.model import Manifest

_SHORT = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SetResult:
    """The outcome of set. generation: 1 for the first manifest; files: the changed ones, relative to the project.

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
    coordinator: Given = None,
    manifest: Path | None = None,
    owner_key: Path | None = None,
    owner_key_name: str = "",
    paths: Sequence[Path] = (),
    expected: bytes | None = None,
    signatures: Sequence[bytes] = (),
    written: Iterable[Mapping[str, str]] = (),
    reach: Reach = USUAL_REACH,
) -> SetResult:
    """Set the manifest and write the CA certificates that belong to it.

    coordinator: host:port; None: the local deployment's. paths: annotated YAML with the policies, or its sources; by
    default generate's output. owner_key: PEM file, called `owner_key_name` in messages; by default the first of the
    settings, if it exists. expected: the transition (32 bytes, zeros for none) that must be the latest; None: whichever is.
    signatures: of owners over the next transition, which then need not come with an owner's key. written: see `read_deployed`.
    Raises UsageError for a given key that cannot be read; MismatchError if manifest and deployment disagree or another
    manifest is in force afterwards; NotAuthorised; EvidenceRejected; CoordinatorUnreachable; RequestRefused.
    """
    given = load_manifest(settings, manifest, is_new=True)
    given.warn_if_simulated(say)
    content, parsed, name = given
    deployed = read_deployed(settings, paths, say, written)
    check_policies(parsed, deployed.policies, name)
    refuse_unhonoured(given, settings, deployed.objects, say)
    differences = differences_from_generated(parsed, settings, name)
    for line in differences:
        say(f"warning: {line}")
    if differences:
        say("  hint: declare it in contrast.toml; the next generate writes the manifest anew")
    key, key_file = load_owner_key(settings, owner_key, owner_key_name)
    for line in lock_out_warnings(parsed, key, is_signed=bool(signatures)):
        say(f"warning: {line}")
    target = Coordinator.find(settings, coordinator, say=say, reach=reach)
    update = _Update(
        root=settings.root,
        content=content,
        manifest=parsed,
        name=name,
        policies=deployed.policies,
        has_seedshare_owners=bool(parsed.seedshare_owner_pub_keys),
        coordinator=target.address,
        expected=expected,
        signatures=signatures,
        say=say,
    )
    try:
        return target.ask(parsed, update.attempt, key)
    except NotAuthorised as err:
        err.hint = denied_hint(err, key, key_file, is_signed=bool(signatures))
        err.args = (with_key_files(str(err), settings),)
        raise


@dataclass(slots=True, kw_only=True)
class _Update:
    """One set over several attempts; the Coordinator may have carried out an attempt whose answer was lost.

    sent_after: the transition that the manifest was sent to follow, None if it was not sent yet.
    share_files: the seed share files that were written.
    """

    root: Path
    content: bytes
    manifest: "Manifest"
    name: str
    policies: Mapping[str, bytes]
    has_seedshare_owners: bool
    coordinator: str
    expected: bytes | None
    signatures: Sequence[bytes]
    say: Callable[[str], None]
    sent_after: bytes | None = None
    share_files: tuple[str, ...] = ()

    def attempt(self, session: Session) -> SetResult:
        """Set the manifest, or finish an earlier attempt whose answer was lost."""
        before = _history(session)
        if before is not None and self._is_done(before):
            return self._finish_lost(session, before)
        if before is not None and before.latest_transition is None:
            refuse_lost_owners(self.manifest, self.name, f"coordinator {self.coordinator}")
        latest = NO_TRANSITION if before is None else newest_transition(before)
        self._require_expected(latest, before)
        refuse_ignored_approvals(session, self.manifest, self.name, self.coordinator)
        is_repeat = before is not None and before.manifests[-1:] == (self.content,)
        if is_repeat:
            self.say(
                f"{self.name} is in force already, setting it again rotates the mesh CA all the same"
            )
        self.sent_after = latest
        done = session.set_manifest(self.content, self.policies, latest, self.signatures)
        if done.seed_shares is not None:
            # Written before everything else: without them a restarted Coordinator is lost.
            self.share_files = write_shares(self.root, done.seed_shares)
        elif is_repeat or not (self.root / SEED_SHARES_FILE).exists():
            # An earlier `set` may have ended before it got the answer.
            self._regain_shares(session)
        after = session.get_manifests()
        self._require_in_force(after, done)
        return self._result(after, is_repeat=is_repeat)

    def _require_expected(self, latest: bytes, history: "ManifestHistory | None") -> None:
        """Raise CoordinatorNotReady unless the latest transition is the expected one.

        Coordinators of older releases do not know what is expected, so it is compared here too.
        """
        from contrast_tasks.api.errors import REASON_CONFLICT, CoordinatorNotReady

        if self.expected is None:
            return
        if latest != self.expected:
            raise CoordinatorNotReady(
                f"coordinator {self.coordinator} has another latest transition than expected\n"
                f"  expected  {self.expected.hex()}\n"
                f"  presented {latest.hex()}",
                hint=f"see what was set in between with '{command('verify')}', then set again",
                reason=REASON_CONFLICT,
            )
        if history is not None and history.latest_transition is None:
            self.say(
                "warning: this coordinator is of a release that tells no latest transition: another update at this very "
                "moment would not be noticed"
            )

    def _is_done(self, history: "ManifestHistory") -> bool:
        if self.sent_after is None:
            return False
        return newest_transition(history) == transition_digest(
            manifest_hash(self.content), self.sent_after
        )

    def _finish_lost(self, session: Session, history: "ManifestHistory") -> SetResult:
        self._check_certificates(history)
        self.say("the coordinator had set it, only its answer was lost")
        if self.sent_after == NO_TRANSITION and not self.share_files:
            self._regain_shares(session, is_new=True)
        return self._result(history, is_repeat=False)

    def _regain_shares(self, session: Session, *, is_new: bool = False) -> None:
        """Write the seed shares again, unless those of the same seed are here.

        is_new: nobody got them yet, so a file that is here is of an earlier coordinator.
        """
        from contrast_tasks.api.errors import CoordinatorFailed

        if not self.has_seedshare_owners:
            return
        try:
            shares = session.get_seed_shares()
        except (NotAuthorised, CoordinatorFailed) as err:
            is_here = (self.root / SEED_SHARES_FILE).exists()
            if is_here and not is_new:
                return
            fault = (
                "is of an earlier coordinator, this one cannot be recovered with it"
                if is_here
                else "is not here, without it this coordinator cannot be recovered"
            )
            self.say(f"warning: {SEED_SHARES_FILE} {fault}: {err}")
            if isinstance(err, NotAuthorised):
                self.say(
                    f"  hint: an owner of the seed writes it with '{command('recover --fetch-shares')}'"
                )
            else:
                self.say("  hint: begin a new history while that costs nothing")
            return
        if not are_same_seed(self.root, shares):
            self.share_files = write_shares(self.root, shares)

    def _require_in_force(self, history: "ManifestHistory", done: "SetManifestResult") -> None:
        for answer in (done, history):
            self._check_certificates(answer)
        presented = history.manifests[-1] if history.manifests else b""
        if presented != self.content:
            what = "another manifest"
        elif (history.root_ca_pem, history.mesh_ca_pem) != (done.root_ca_pem, done.mesh_ca_pem):
            what = "another CA"
        else:
            return
        digest = sha256_hex(presented) if presented else "none"
        raise MismatchError(
            f"coordinator {self.coordinator} has {what} in force than the one just set\n"
            f"  expected  {sha256_hex(self.content)}   {self.name}, mesh CA {_short(done.mesh_ca_pem)}\n"
            f"  presented {digest}   mesh CA {_short(history.mesh_ca_pem)}",
            hint=f"another owner may have set one at the same time: run '{command('verify')}'",
        )

    def _check_certificates(self, answer: "ManifestHistory | SetManifestResult") -> None:
        subject = f"coordinator {self.coordinator}"
        check_certificates(answer.root_ca_pem, answer.mesh_ca_pem, subject, datetime.now(UTC))

    def _result(self, history: "ManifestHistory", *, is_repeat: bool) -> SetResult:
        return SetResult(
            coordinator=self.coordinator,
            generation=len(history.manifests),
            is_repeat=is_repeat,
            manifest_sha256=sha256_hex(self.content),
            mesh_ca_sha256=certificate_sha256(history.mesh_ca_pem),
            files=(
                *write_certificates(self.root, history),
                *self._write(f"{FOLDER}/{LATEST_FILE}", newest_transition(history).hex().encode()),
                *self.share_files,
            ),
        )

    def _write(self, file: str, content: bytes) -> tuple[str, ...]:
        return (file,) if write_atomic(self.root / file, content) else ()


def _short(pem: bytes) -> str:
    return certificate_sha256(pem)[:_SHORT]


def _history(session: Session) -> "ManifestHistory | None":
    """Return the history, None before the first manifest."""
    from contrast_tasks.api.errors import REASON_NO_MANIFEST, CoordinatorNotReady

    try:
        return session.get_manifests()
    except CoordinatorNotReady as err:
        if err.reason != REASON_NO_MANIFEST:
            raise
        return None
