"""The audit log: what was changed, given away or refused, in entries that are chained by hashes.

    audit/<n>   64 blocks of 64 entries each; the oldest block is written over

Whoever records an event never waits for the store: the event is kept in memory, and a thread writes it within a second. Entries
are written only while the process has the transaction key, which signs the last one of each write; whatever stands in the store
behind the newest valid signature was not written by a Coordinator, and is dropped. Coordinators on the same store append to
one log, by compare-and-swap. A store that fails or is full leaves the events in memory, up to a bound.

Entries hold names of events, times, digests, addresses and reasons. Source: docs/internals/coordinator.md 14.1.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api.audit_log import (
    BLOCK_ENTRIES,
    BLOCKS,
    AuditEntry,
    digest_to_sign,
    genuine,
    oldest_kept,
    parse_entry,
    render_content,
)
from coordinator.history import HASH_BYTES, sign_digest
from coordinator.store.base import NotFound, Store, StoreConflict, StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_log = logging.getLogger("coordinator.audit")

FOLDER = "audit"
_INTERVAL_S = 1.0
_MINUTE = timedelta(minutes=1)
_MOST_UNWRITTEN = 4096
_LONGEST_TEXT = 200
_TRIES = 10
SEVERAL = "several"

Detail = str | int


@dataclass(slots=True)
class _Event:
    moment: datetime
    members: dict[str, Detail]
    period: timedelta = timedelta(0)

    def render(self, **links: Detail) -> bytes:
        time = self.moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return render_content({**self.members, "time": time, **links})


class AuditLog:
    """The log of one Coordinator; safe to use from any thread. now: the source of time.

    on_event: is told each event and its members at once, in the thread that records it.
    """

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self.on_event: Callable[[str, Mapping[str, Detail]], None] = _ignore
        self._store = store
        self._now = now
        self._key: ec.EllipticCurvePrivateKey | None = None
        # Guards the two collections of events, and is never held while the store is used.
        self._lock = threading.Lock()
        self._events: list[_Event] = []
        self._counts: dict[tuple[tuple[str, Detail], ...], _Event] = {}
        self._dropped = 0
        # Guards the rest.
        self._writing = threading.Lock()
        self._entries: list[AuditEntry] | None = None
        self._raw: dict[int, bytes] = {}
        self._reported = ""

    def unlock(self, key: "ec.EllipticCurvePrivateKey") -> None:
        """Sign with the transaction key from now on; until then nothing is written."""
        self._key = key

    def record(
        self, event: str, *, actor: str = "", transition: bytes = b"", **more: Detail
    ) -> None:
        """Add an entry. actor: digest of the caller's key in hex. transition: hash, 32 bytes."""
        members = _members(event, more, actor=actor, transition=transition.hex())
        self.on_event(event, members)
        self._add(_Event(self._now(), members))

    def count(
        self, event: str, *, actor: str = "", period: timedelta = _MINUTE, **more: Detail
    ) -> None:
        """Add an entry in each period for equal events, with their number and actor: SEVERAL if there was more than one."""
        members = _members(event, more)
        self.on_event(event, members)
        key = tuple(sorted(members.items()))
        now = self._now()
        with self._lock:
            known = self._counts.get(key)
            if known is not None:
                known.members["count"] = int(known.members["count"]) + 1
                if known.members.get("actor", "") != actor:
                    known.members["actor"] = SEVERAL
            elif len(self._counts) < _MOST_UNWRITTEN:
                self._counts[key] = _Event(now, _members(event, more, actor=actor, count=1), period)
            else:
                self._dropped += 1

    def keep(self, stop: threading.Event) -> None:
        """Write every second what was recorded, until `stop` is set."""
        while not stop.wait(_INTERVAL_S):
            self.flush()

    def flush(self, *, is_last: bool = False) -> None:
        """Write what was recorded; never raises. is_last: also what is counted for less than a minute."""
        trouble = ""
        with self._writing:
            self._end_counts(is_last=is_last)
            try:
                self._write_events()
            except StoreError as err:
                trouble = str(err)
            except Exception as err:  # noqa: BLE001  # outermost: the log must not stop the Coordinator
                trouble = type(err).__name__
                if trouble != self._reported:
                    _log.exception("The audit log failed")
            if trouble and trouble != self._reported:
                _log.error("The audit log cannot be written: %s", trouble)
            self._reported = trouble

    def since(self, number: int) -> list[AuditEntry]:
        """Return the entries from `number` on that are written."""
        with self._writing:
            return [entry for entry in self._entries or () if entry.number >= number]

    @property
    def waiting(self) -> int:
        """Return the number of events that are not written."""
        return len(self._events) + len(self._counts)

    def unwritten(self) -> list[bytes]:
        """Return the events that are not written, as JSON."""
        with self._lock:
            return [event.render() for event in (*self._events, *self._counts.values())]

    def _add(self, event: _Event) -> None:
        with self._lock:
            if len(self._events) < _MOST_UNWRITTEN:
                self._events.append(event)
            else:
                self._dropped += 1

    def _end_counts(self, *, is_last: bool) -> None:
        now = self._now()
        with self._lock:
            for key, event in list(self._counts.items()):
                # A clock that was put back must not make it wait for longer.
                is_over = is_last or not timedelta(0) <= now - event.moment < event.period
                if is_over and len(self._events) < _MOST_UNWRITTEN:
                    self._events.append(self._counts.pop(key))
            if self._dropped and len(self._events) < _MOST_UNWRITTEN:
                self._events.append(_Event(now, _members("dropped", {}, count=self._dropped)))
                self._dropped = 0

    def _write_events(self) -> None:
        """Write all events, as many at a time as the current block has room for. Raises StoreError."""
        if self._key is None:
            return
        if self._entries is None:
            self._entries = self._load(self._key)
        tries = 0
        while self._events:
            try:
                self._append(self._key, self._entries)
            except StoreConflict:
                tries += 1
                if tries == _TRIES:
                    raise
                self._entries = self._merge(self._key, self._entries)

    def _append(self, key: "ec.EllipticCurvePrivateKey", entries: list[AuditEntry]) -> None:
        number = entries[-1].number + 1 if entries else 0
        room = BLOCK_ENTRIES - number % BLOCK_ENTRIES
        with self._lock:
            events = self._events[:room]
        previous = entries[-1].digest if entries else bytes(HASH_BYTES)
        added: list[AuditEntry] = []
        for event in events:
            content = event.render(number=number + len(added), previous=previous.hex())
            is_end = len(added) + 1 == len(events)
            signature = sign_digest(key, digest_to_sign(content)) if is_end else b""
            added.append(parse_entry(content, signature))
            previous = added[-1].digest
        block = number // BLOCK_ENTRIES
        kept = [entry for entry in entries if entry.number >= oldest_kept(number)]
        new = [*kept, *added]
        slot = block % BLOCKS
        raw = _render_block(new, block)
        self._store.compare_and_swap(f"{FOLDER}/{slot}", self._raw.get(slot, b""), raw)
        self._raw[slot] = raw
        self._entries = new
        with self._lock:
            del self._events[: len(events)]

    def _load(self, key: "ec.EllipticCurvePrivateKey") -> list[AuditEntry]:
        """Return the genuine entries of the store."""
        for _ in range(_TRIES):
            before, self._raw = self._raw, self._read()
            # Another Coordinator may write meanwhile; what was read twice was there at one time.
            if before == self._raw:
                break
        found = self._found()
        entries = genuine(found, key.public_key())
        first = entries[0].number if entries else 0
        told = [each.members["first"] for each in entries if "first" in each.members]
        is_cut = bool(entries) and first > max([oldest_kept(entries[-1].number), *told])
        if len(found) != len(entries) or is_cut:
            self.record("log-incomplete", found=len(found), kept=len(entries), first=first)
        return entries

    def _merge(
        self, key: "ec.EllipticCurvePrivateKey", known: list[AuditEntry]
    ) -> list[AuditEntry]:
        """Return the known entries with those that another Coordinator appended, and undo any other change of the store."""
        block = known[-1].number // BLOCK_ENTRIES if known else 0
        for each in range(block, block + BLOCKS):
            slot = each % BLOCKS
            self._raw[slot] = self._get(slot)
            there = parse_block(slot, self._raw[slot])
            if [entry.number // BLOCK_ENTRIES for entry in there] != [each] * BLOCK_ENTRIES:
                break
        merged = genuine([*self._found(), *known], key.public_key())
        is_changed = bool(known) and known[-1].content not in {each.content for each in merged}
        for block in sorted({entry.number // BLOCK_ENTRIES for entry in merged}):
            slot, raw = block % BLOCKS, _render_block(merged, block)
            if self._raw.get(slot, b"") != raw:
                is_changed = True
                self._store.compare_and_swap(f"{FOLDER}/{slot}", self._raw.get(slot, b""), raw)
                self._raw[slot] = raw
        if is_changed:
            self.count("log-changed")
        return merged

    def _found(self) -> list[AuditEntry]:
        return [entry for slot, raw in self._raw.items() for entry in parse_block(slot, raw)]

    def _read(self) -> dict[int, bytes]:
        wanted = {str(slot) for slot in range(BLOCKS)} & set(self._store.names(FOLDER))
        return {slot: self._get(slot) for slot in map(int, sorted(wanted))}

    def _get(self, slot: int) -> bytes:
        try:
            return self._store.get(f"{FOLDER}/{slot}")
        except NotFound:
            return b""


def _ignore(_event: str, _members: Mapping[str, Detail]) -> None:
    pass


def _members(event: str, more: Mapping[str, Detail], **usual: Detail) -> dict[str, Detail]:
    members = {"event": event, **more, **{name: value for name, value in usual.items() if value}}
    return {
        name: value[:_LONGEST_TEXT] if isinstance(value, str) else value
        for name, value in members.items()
    }


def _render_block(entries: list[AuditEntry], block: int) -> bytes:
    inside = [entry for entry in entries if entry.number // BLOCK_ENTRIES == block]
    message = ext.AuditBlock(
        Entries=[ext.AuditEntry(Content=each.content, Signature=each.signature) for each in inside]
    )
    return message.SerializeToString(deterministic=True)


def parse_block(slot: int, raw: bytes) -> list[AuditEntry]:
    """Return the entries of a stored block, none if it is malformed; those that do not belong into it are left out."""
    try:
        block = ext.AuditBlock.FromString(raw)
        entries = [parse_entry(each.Content, each.Signature) for each in block.Entries]
    except (DecodeError, ValueError, RecursionError):
        return []
    return [entry for entry in entries if slot_of(entry) == slot]


def slot_of(entry: AuditEntry) -> int:
    """Return the number of the object that an entry is in."""
    return entry.number // BLOCK_ENTRIES % BLOCKS
