"""What a store holds, judged object by object: whether all that the head leads to is whole, and what nothing leads to.

Nothing is written. The head is read first: what it leads to was there before it, so a Coordinator that goes on meanwhile adds
orphans only. Source: docs/internals/coordinator.md 8.7.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api.audit_log import AuditEntry, first_break, genuine
from contrast_tasks.api.packs import Pack
from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.manifest.hashes import NO_TRANSITION
from coordinator import audit
from coordinator.history import (
    CONTENT_FOLDERS,
    HASH,
    LATEST_KEY,
    UNFINISHED_KEY,
    Folder,
    History,
    HistoryCorrupt,
    LatestTransition,
)

FOLDERS = (*CONTENT_FOLDERS, "metadata", audit.FOLDER)
"""All that a store has."""
Severity = Literal["error", "note"]


class Problem(NamedTuple):
    """What is wrong with an object. place: its name as a person finds it. A note is no damage."""

    severity: Severity
    key: str
    place: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What was found.

    head: None without a head that is in force. is_signed: whether the given key signed it, None without a key. generations:
    manifests, the newest and those before it up to a gap. needed: keys of what the head leads to, the head last.
    """

    head: LatestTransition | None
    is_signed: bool | None
    generations: int
    needed: tuple[str, ...]
    orphans: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def is_whole(self) -> bool:
        """Return whether nothing is damaged or missing."""
        return all(each.severity == "note" for each in self.problems)

    @property
    def is_empty(self) -> bool:
        """Return whether there is nothing at all."""
        return not (self.needed or self.orphans or self.problems)


def inspect(history: History, key: ec.EllipticCurvePublicKey | None = None) -> Inspection:
    """Return what is in the store; key: the one that signs transitions, if it is known. Raises StoreError."""
    return _Inspector(history, key).inspect()


class _Places(NamedTuple):
    """All names by folder, and the packs of each document by its hash in hex."""

    names: Mapping[str, Collection[str]]
    packs: Mapping[str, Sequence[Pack]]


class _Inspector:
    def __init__(self, history: History, key: ec.EllipticCurvePublicKey | None) -> None:
        self._history = history
        self._key = key
        self._needed: set[str] = set()
        self._problems: dict[str, Problem] = {}

    def inspect(self) -> Inspection:
        head = self._head()
        names = {folder: dict.fromkeys(self._history.store.names(folder)) for folder in FOLDERS}
        steps, is_complete = self._chain(head)
        documents = _Places(names, self._packs(names["packs"]))
        policies: set[str] = set()
        for manifest in dict.fromkeys(manifest for _, manifest in steps):
            if self._hold("manifests", manifest.hex(), documents):
                policies.update(self._policies_of(manifest))
        for policy in sorted(policies):
            self._hold("policies", policy, documents)
        if is_complete:
            self._first_time(steps[-1][0].hex(), names["metadata"])
        self._audit(names[audit.FOLDER])
        orphans = tuple(self._others(names))
        return Inspection(
            head=head,
            is_signed=None if head is None or self._key is None else head.is_signed_by(self._key),
            generations=len(steps),
            # Whoever copies them in this order never leaves a head without what it leads to.
            needed=tuple(sorted(self._needed, key=lambda each: (each == LATEST_KEY, each))),
            orphans=orphans,
            problems=tuple(self._problems[each] for each in sorted(self._problems)),
        )

    def _report(self, key: str, message: str, severity: Severity = "error") -> None:
        place = self._history.store.describe(key)
        self._problems.setdefault(key, Problem(severity, key, place, message))

    def _head(self) -> LatestTransition | None:
        try:
            head = self._history.latest_unverified()
            if head is None:
                if lost := self._history.orphans():
                    message = f"the head is missing, and there are {len(lost)} transitions"
                    self._report(LATEST_KEY, message)
                return None
            if self._history.finished_head() is None:
                message = "the first set has not ended, so nobody has got an answer"
                self._report(LATEST_KEY, message, "note")
                return None
        except HistoryCorrupt as err:
            self._report(LATEST_KEY, str(err))
            return None
        self._needed.add(LATEST_KEY)
        if self._key is not None and not head.is_signed_by(self._key):
            self._report(LATEST_KEY, "the head is not signed by the given key")
        return head

    def _chain(self, head: LatestTransition | None) -> tuple[list[tuple[bytes, bytes]], bool]:
        """Return hash and manifest hash of each transition, newest first, and whether they lead to the first."""
        steps: list[tuple[bytes, bytes]] = []
        previous = NO_TRANSITION if head is None else head.transition_hash
        try:
            for digest, step in self._history.walk(previous):
                self._needed.add(f"transitions/{digest.hex()}")
                steps.append((digest, step.manifest_hash))
                previous = step.previous
        except HistoryCorrupt as err:
            self._report(f"transitions/{previous.hex()}", str(err))
            return steps, False
        return steps, bool(steps)

    def _packs(self, names: Iterable[str]) -> Mapping[str, Sequence[Pack]]:
        """Return the packs that hold each document, by its hash in hex."""
        found: dict[str, list[Pack]] = {}
        for name in filter(HASH.fullmatch, names):
            try:
                pack = self._history.pack(name)
            except HistoryCorrupt as err:
                self._report(f"packs/{name}", str(err))
                continue
            for document in pack.sizes:
                found.setdefault(document, []).append(pack)
        return found

    def _hold(self, folder: Folder, name: str, places: "_Places") -> bool:
        """Mark every object with a document as needed; return False, and report it, if there is none."""
        key, packs = f"{folder}/{name}", places.packs.get(name, ())
        self._needed.update(f"packs/{pack.digest.hex()}" for pack in packs)
        if name in places.names[folder] and self._is_intact(key):
            self._needed.add(key)
        elif not packs:
            self._report(key, "is missing, and in no pack")
            return False
        return True

    def _policies_of(self, manifest: bytes) -> Iterator[str]:
        key = f"manifests/{manifest.hex()}"
        try:
            document = parse_json(self._history.manifest(manifest))
            names = [name for name, _ in document.at("Policies").members()]
        except DecodeError:
            self._report(key, "the manifest has no policies")
            return
        for name in names:
            if HASH.fullmatch(name):
                yield name
            else:
                self._report(key, "the manifest names a policy by no hash")

    def _first_time(self, first: str, names: Collection[str]) -> None:
        key = f"metadata/{first}"
        if first not in names:
            message = "is missing, so that recovery makes another root certificate for the same key"
            self._report(key, message, "note")
        elif self._key is not None and self._history.first_time_of(first, self._key) is None:
            self._report(key, "the time of the first transition is not signed by the given key")
        else:
            self._needed.add(key)

    def _audit(self, names: Iterable[str]) -> None:
        entries: list[AuditEntry] = []
        for name in names:
            key = f"{audit.FOLDER}/{name}"
            found = (
                audit.parse_block(int(name), self._history.store.get(key)) if _is_slot(name) else []
            )
            if found:
                entries += found
                self._needed.add(key)
            else:
                self._report(key, "holds no entries of the audit log")
        entries.sort(key=lambda entry: entry.number)
        if (number := first_break(entries)) is not None:
            broken = next(each for each in entries if each.number == number)
            message = f"entry {number} of the audit log does not follow the one before it"
            self._report(f"{audit.FOLDER}/{audit.slot_of(broken)}", message)
        elif self._key is not None:
            self._unsigned(entries, genuine(entries, self._key))

    def _unsigned(self, entries: Sequence[AuditEntry], signed: Sequence[AuditEntry]) -> None:
        if len(signed) != len(entries):
            first = entries[len(signed)]
            message = f"the audit log is not signed from entry {first.number} on"
            self._report(f"{audit.FOLDER}/{audit.slot_of(first)}", message)

    def _others(self, names: Mapping[str, Iterable[str]]) -> Iterator[str]:
        """Yield the keys of whole objects that the head does not lead to."""
        for folder, inside in names.items():
            for name in inside:
                key = f"{folder}/{name}"
                if key in self._needed or key in self._problems or key == UNFINISHED_KEY:
                    continue
                if key != LATEST_KEY and not HASH.fullmatch(name):
                    self._report(key, "is no object of a history", "note")
                elif folder not in CONTENT_FOLDERS or key == LATEST_KEY or self._is_intact(key):
                    yield key

    def _is_intact(self, key: str) -> bool:
        try:
            self._history.check(key)
        except HistoryCorrupt as err:
            self._report(key, str(err))
            return False
        return True


def _is_slot(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 3  # noqa: PLR2004  # there are 64
