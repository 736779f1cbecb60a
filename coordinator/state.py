"""The Coordinator's state: which manifest is in force, and the only ways it can change.

    initial ------ update(None) ------> active <---- update(old) ---- active (generation + 1, new mesh CA)
    recovery ----- reset(None) -------> active      memory is empty, the store is not: the process was restarted
    stale -------- reset(old) --------> active      another Coordinator moved the head on; nothing is served
    inconsistent   transitions without a head: the head was deleted; only `force_new` starts over

`active` is called `final` if the manifest names no workload owner, so that it can never be updated. Only these two are
served; each other state has its class of error.

A State never changes, except that it can become stale. An update first builds keys, certificates and the signed head. It
then writes the documents, swaps the head (the store's compare-and-swap decides between Coordinators), and finally swaps
the reference in memory. A crash between any two of these steps leaves the old manifest in force; if there was none, the
next first set starts over. A swap that failed may have been made all the same: whoever looks next finds out, and serves it.
Source: docs/internals/coordinator.md 4.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api.packs import Pack
from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash
from coordinator.audit import AuditLog
from coordinator.ca import LEAF_LIFETIME, CertificateAuthority, RandomBytes
from coordinator.documents import Documents, read_documents
from coordinator.history import (
    History,
    HistoryCorrupt,
    LatestTransition,
    Transition,
    not_signed,
    sign_latest,
)
from coordinator.presence import ALONE, Presence
from coordinator.seedengine import BadSeed, SeedEngine
from coordinator.store.base import StoreConflict, StoreError
from coordinator.unavailable import (
    ConcurrentUpdate,
    HistoryInconsistent,
    InRecovery,
    NoManifest,
    RolledBack,
    Stale,
    StateUnavailable,
)

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import Manifest

_log = logging.getLogger("coordinator.state")

ParseManifest = Callable[[bytes], "Manifest"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class State:
    """One generation. A handler takes one State per request and never asks the Guard again.

    manifest_bytes: exactly as sent. documents: of all generations. generation: 1 for the first manifest. root_issued_at: time of the first set.
    """

    engine: SeedEngine
    manifest: "Manifest"
    manifest_bytes: bytes
    ca: CertificateAuthority
    transition: Transition
    latest: LatestTransition
    documents: Documents
    generation: int
    root_issued_at: datetime
    _stale: threading.Event = field(default_factory=threading.Event)

    @property
    def is_stale(self) -> bool:
        """Return whether another Coordinator has set a newer manifest; never turns back to False."""
        return self._stale.is_set()

    def mark_stale(self) -> None:
        """Record that this state is no longer the newest."""
        self._stale.set()


class Stored(NamedTuple):
    """The newest manifest of the store, before anybody has proved that its head is genuine."""

    manifest: "Manifest"
    transition: Transition


class Keys(NamedTuple):
    """What a state is recovered with. mesh_key: of the mesh CA of this very manifest; None: a new one."""

    engine: SeedEngine
    mesh_key: ec.EllipticCurvePrivateKey | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What probes report: a name of the table above, the reason, and the generation (0: no manifest)."""

    name: str
    reason: str
    generation: int


class Guard:
    """Holds the state. Once there is one, readers never wait for writers.

    now, random_bytes: sources of time and randomness. parse: strict, bytes to Manifest. parse_stored: for what was in force,
    by default the same. presence: of this Coordinator among those on the same store. force_new: start over although the store holds transitions without a head.
    certificate_lifetime: of workloads.
    """

    def __init__(
        self,
        history: History,
        *,
        parse: ParseManifest,
        parse_stored: ParseManifest | None = None,
        now: Callable[[], datetime],
        random_bytes: RandomBytes = secrets.token_bytes,
        presence: Presence = ALONE,
        force_new: bool = False,
        certificate_lifetime: timedelta = LEAF_LIFETIME,
    ) -> None:
        self.history = history
        self.presence = presence
        self.parse = parse
        self._parse_stored = parse_stored
        self.now = now
        self.audit = AuditLog(history.store, lambda: self.now())  # noqa: PLW0108  # tests replace the clock
        self.random_bytes = random_bytes
        self._force_new = force_new
        self._certificate_lifetime = certificate_lifetime
        self._state: State | None = None
        self._doubtful: State | None = None
        self._lock = threading.RLock()

    def current(self) -> State:
        """Return the state to serve from.

        Raises StateUnavailable, or StoreError if the store cannot be read.
        """
        if self._state is None:
            # A first set between its transition and its head would look like a deleted head.
            with self._lock:
                self.settle()
                if self._state is None:
                    raise self._absence()
        state = self._state
        if state.is_stale:
            raise Stale("another coordinator has set a newer manifest")
        return state

    def is_current(self, state: State) -> bool:
        """Return whether `state` is the one in force."""
        return state is self._state and not state.is_stale

    def settle(self) -> None:
        """Find out whether the head of an update that failed is in the store; serve its state if so. Raises StoreError."""
        if self._doubtful is not None:
            with self._lock:
                if self._doubtful and self.history.finished_head() == self._doubtful.latest:
                    self._serve(self._doubtful)
                self._doubtful = None

    def outdate(self, state: State) -> bool:
        """Mark a state as stale and return True; return False if it is no longer in force.

        Waits for an update of this process: its head is in the store shortly before its state is in memory.
        """
        with self._lock:
            if not self.is_current(state):
                return False
            state.mark_stale()
            self.presence.withdraw()
            return True

    def unrecovered(self) -> State | None:
        """Return what `reset` replaces: None after a restart, else the stale state.

        Raises NoManifest if there is nothing to recover from, ConcurrentUpdate if a state can be served.
        """
        try:
            self.current()
        except InRecovery:
            return self._state
        raise ConcurrentUpdate("the coordinator is already recovered")

    def status(self) -> Status:
        """Return the name of the state; never raises."""
        return self.snapshot()[0]

    def snapshot(self) -> tuple[Status, State | None]:
        """Return the name of the state, and the state itself if it is served; never raises."""
        try:
            state = self.current()
        except StateUnavailable as err:
            generation = 0 if self._state is None else self._state.generation
            return Status(name=err.name, reason=str(err), generation=generation), None
        except HistoryCorrupt as err:
            return Status(name=HistoryInconsistent.name, reason=str(err), generation=0), None
        except StoreError:
            return Status(name="unknown", reason="the store cannot be read", generation=0), None
        name = "active" if state.manifest.workload_owner_digests else "final"
        return Status(name=name, reason="", generation=state.generation), state

    def update(
        self,
        old: State | None,
        *,
        engine: SeedEngine,
        manifest: "Manifest",
        manifest_bytes: bytes,
        policies: Sequence[bytes] = (),
        packs: Sequence[Pack] = (),
    ) -> State:
        """Put a manifest in force that the caller has validated, and return the new state.

        old: the state that the caller checked against, None for the first set. policies, packs: with the documents that the
        manifest names and `old` does not have. Raises ConcurrentUpdate or StoreConflict if `old` is no longer in force,
        StoreError if writing fails, DocumentTooLarge; the state is then unchanged.
        """
        now = self.now()
        previous = NO_TRANSITION if old is None else old.latest.transition_hash
        transition = Transition(manifest_hash=manifest_hash(manifest_bytes), previous=previous)
        before = Documents() if old is None else old.documents
        documents = before.followed_by(
            transition,
            manifest_bytes,
            manifest.policies,
            [*packs, *before.packs_of_new(policies)],
        )
        # Whole seconds, as in the store and in certificates.
        issued_at = now.replace(microsecond=0) if old is None else old.root_issued_at
        new = State(
            engine=engine,
            manifest=manifest,
            manifest_bytes=manifest_bytes,
            ca=self._authority(engine, issued_at, now),
            transition=transition,
            latest=sign_latest(engine.transaction_key, transition.digest),
            documents=documents,
            generation=1 if old is None else old.generation + 1,
            root_issued_at=issued_at,
        )
        with self._lock:
            self.settle()
            self._require_unchanged(old)
            if old is not None and old.is_stale:
                raise Stale("another coordinator has set a newer manifest")
            # Also those that were stored before, in case somebody removed them.
            self.history.put_packs(documents.packs_with(manifest.policies))
            self.history.put_manifest(manifest_bytes)
            beginning, expected = None, None if old is None else old.latest
            if old is None:
                beginning = self.history.begin(transition.digest)
                expected = beginning.dead_head
                self.history.put_first_time(engine.transaction_key, transition.digest, issued_at)
            self.history.put_transition(transition)
            try:
                self.history.swap_latest(expected, new.latest)
                if beginning is not None:
                    self.history.end(beginning)
            except StoreError as err:
                self._doubtful = None if isinstance(err, StoreConflict) else new
                raise
            self._serve(new)
        return new

    def reset(
        self,
        old: State | None,
        authorise: Callable[[Stored], Keys],
        *,
        known: bytes = b"",
    ) -> State:
        """Load the newest manifest from the store and serve it.

        old: the result of `unrecovered`. authorise: judges whoever helps by the stored manifest, and returns the keys that they
        sent. known: a transition (32 bytes) that the newest one must be or come
        after; empty for none. Raises BadSeed if the head is not signed by that seed's key, RolledBack, HistoryCorrupt,
        ConcurrentUpdate, and whatever authorise and parse raise.
        """
        head = self.history.finished_head()
        if head is None:
            raise NoManifest("no state to recover from")
        newest = self.history.transition(head.transition_hash)
        manifest_bytes = self.history.manifest(newest.manifest_hash)
        manifest = (self._parse_stored or self.parse)(manifest_bytes)
        engine, mesh_key = authorise(Stored(manifest, newest))
        transaction_key = engine.transaction_key.public_key()
        if not head.is_signed_by(transaction_key):
            raise BadSeed(not_signed(head, transaction_key))
        documents = read_documents(self.history, head.transition_hash)
        if known and known not in documents.transitions:
            # A signature proves only that the head was the newest once.
            raise RolledBack(
                f"the newest transition of the store, {head.transition_hash.hex()}, does not come after "
                f"{known.hex()}, which the caller knows: the store was rolled back"
            )
        now = self.now()
        issued_at = self.history.first_time(transaction_key) or now
        new = State(
            engine=engine,
            manifest=manifest,
            manifest_bytes=manifest_bytes,
            ca=self._authority(engine, issued_at, now, mesh_key),
            transition=newest,
            latest=head,
            documents=documents,
            generation=len(documents.generations),
            root_issued_at=issued_at,
        )
        with self._lock:
            self._require_unchanged(old)
            if self.history.latest_unverified() != head:
                raise ConcurrentUpdate("the history moved on during recovery")
            self._serve(new)
        return new

    def _authority(
        self,
        engine: SeedEngine,
        issued_at: datetime,
        now: datetime,
        mesh_key: ec.EllipticCurvePrivateKey | None = None,
    ) -> CertificateAuthority:
        return CertificateAuthority(
            root_key=engine.root_ca_key,
            # New for each generation and never derived: see seedengine.
            mesh_key=mesh_key or ec.generate_private_key(ec.SECP384R1()),
            root_serial=engine.root_ca_serial,
            root_issued_at=issued_at,
            now=now,
            random_bytes=self.random_bytes,
            leaf_lifetime=self._certificate_lifetime,
        )

    def _serve(self, new: State) -> None:
        self._state, self._doubtful = new, None
        self.audit.unlock(new.engine.transaction_key)
        try:
            self.presence.announce()
        except StoreError as err:
            # The state is in force all the same.
            _log.warning("others cannot see that this coordinator serves: %s", err)

    def _require_unchanged(self, old: State | None) -> None:
        if self._state is not old:
            raise ConcurrentUpdate("the state was changed by another request")

    def _absence(self) -> StateUnavailable:
        """Return why there is no state; raises StoreError."""
        if self.history.finished_head() is not None:
            return InRecovery("the coordinator was restarted and holds no keys")
        if self.history.orphans() and not self._force_new:
            return HistoryInconsistent(
                "the history holds transitions, but its newest entry is missing",
                hint="restore transitions/latest, or start with --force-new and lose the old seed",
            )
        return NoManifest("no manifest was set")
