"""The audit log in a store: what it says, that it holds together, and that nothing stops a Coordinator that keeps it."""

import hashlib
import json
import subprocess
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import meshapi_pb2
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.audit_log import BLOCK_ENTRIES, BLOCKS
from contrast_tasks.atls.types import PeerIdentity
from coordinator.audit import AuditLog
from coordinator.extapi import get_audit_log
from coordinator.history import LATEST_KEY
from coordinator.meshapi import new_mesh_cert
from coordinator.refusal import Refusal
from coordinator.state import Guard
from coordinator.store.memory import MemoryStore
from coordinator.userapi import get_seed_shares, recover, set_manifest
from coordinator.watch import observe
from tests.fakes.coordinator import (
    NOBODY,
    POLICY,
    POLICY_HASH,
    BreakingStore,
    Caller,
    FakeEvidence,
    attested,
    make_guard,
    tiny_manifest,
)

KEY = ec.derive_private_key(1, ec.SECP384R1())
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def new_log(store: MemoryStore, *, key: ec.EllipticCurvePrivateKey | None = KEY) -> AuditLog:
    log = AuditLog(store, lambda: NOON)
    if key is not None:
        log.unlock(key)
    return log


def test_nobody_is_blamed_for_refusals_of_others() -> None:
    store = MemoryStore()
    log = new_log(store)
    for actor in ("aa", "bb", "aa"):
        log.count("set-refused", actor=actor, reason="too few")
    for _ in range(2):
        log.count("recover-refused", actor="cc", reason="too few")
    log.flush(is_last=True)

    told = [json.loads(entry.content) for entry in log.since(0)]
    assert [(each["event"], each["actor"], each["count"]) for each in told] == [
        ("set-refused", "several", 3),
        ("recover-refused", "cc", 2),
    ]


def write(log: AuditLog, *events: str) -> None:
    for event in events:
        log.record(event)
    log.flush()


def events_of(log: AuditLog) -> list[str]:
    return [entry.members["event"] for entry in log.since(0)]


def put(guard: Guard, manifest: bytes, by: PeerIdentity = NOBODY) -> pb.SetManifestResponse:
    return set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), by, guard)


def fetch(guard: Guard, by: PeerIdentity, start: int = 0) -> ext.GetAuditLogResponse:
    return get_audit_log(ext.GetAuditLogRequest(From=start), by, guard)


def contents(answer: ext.GetAuditLogResponse) -> list[Mapping[str, Any]]:
    return [json.loads(entry.Content) for entry in answer.Entries]


def test_an_entry_names_event_actor_transition_and_the_hash_of_the_one_before(
    guard: Guard, owner: Caller
) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest)
    put(guard, manifest, owner.identity)

    answer = fetch(guard, owner.identity)

    first, second = contents(answer)
    # The transition hash: docs/internals/coordinator.md 8.1.
    transition = hashlib.sha256(hashlib.sha256(manifest).digest() + bytes(32)).hexdigest()
    assert first == {
        "number": 0,
        "previous": "00" * 32,
        "time": first["time"],
        "event": "set",
        "transition": transition,
        "generation": 1,
        "by": "key",
    }
    assert first["time"].startswith("2026-03-01T12:0")
    assert second["previous"] == hashlib.sha256(answer.Entries[0].Content).hexdigest()
    assert (second["number"], second["actor"]) == (1, owner.digest_hex)


def test_openssl_verifies_the_newest_entry_with_the_transaction_key(
    guard: Guard, owner: Caller, tmp_path: Path
) -> None:
    put(guard, tiny_manifest(owners=[owner.digest_hex]))

    answer = fetch(guard, owner.identity)

    newest = answer.Entries[-1]
    digest = hashlib.sha256(newest.Content).digest()
    files = {
        "digest": hashlib.sha256(b"contrast-tasks audit log" + digest).digest(),
        "signature": newest.Signature,
        "key": answer.TransactionKey,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    command = "openssl pkeyutl -verify -pubin -keyform DER -inkey key -in digest -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True, text=True)
    assert done.stdout == "Signature Verified Successfully\n"


@pytest.mark.parametrize("by", ["nobody", "stranger"])
def test_the_log_is_for_owners_only(guard: Guard, owner: Caller, by: str) -> None:
    put(guard, tiny_manifest(owners=[owner.digest_hex]))
    stranger = Caller(key=ec.generate_private_key(ec.SECP384R1())).identity

    with pytest.raises(Refusal) as caught:
        fetch(guard, {"nobody": NOBODY, "stranger": stranger}[by])

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_entries_are_sent_from_the_number_that_is_asked_for(guard: Guard, owner: Caller) -> None:
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest)
    put(guard, manifest, owner.identity)

    assert [entry["number"] for entry in contents(fetch(guard, owner.identity, 1))] == [1]
    assert contents(fetch(guard, owner.identity, 2)) == []


def test_shares_recovery_and_a_rolled_back_head_are_in_the_log_of_the_next_process_too(
    guard: Guard, store: MemoryStore, seedshare_owner: Caller
) -> None:
    by = seedshare_owner.identity
    manifest = tiny_manifest(
        owners=[seedshare_owner.digest_hex], seedshare_owners=[seedshare_owner.pkcs1_hex]
    )
    put(guard, manifest)
    first_head = store.get(LATEST_KEY)
    put(guard, manifest, by)
    get_seed_shares(ext.GetSeedSharesRequest(), by, guard)
    store.set(LATEST_KEY, first_head)
    observe(guard)
    guard.audit.flush()
    seed, salt = guard.current().engine.seed, guard.current().engine.salt
    restarted = make_guard(store)

    recover(pb.RecoverRequest(Seed=seed, Salt=salt), by, restarted)

    entries = contents(fetch(restarted, by))
    assert [entry["event"] for entry in entries] == [
        "set",
        "set",
        "seed-shares",
        "head-restored",
        "recover",
    ]
    assert entries[3]["seen"] == "rollback"
    assert entries[4]["actor"] == seedshare_owner.digest_hex


def test_certificates_of_one_policy_are_one_entry_a_minute(guard: Guard, owner: Caller) -> None:
    put(guard, tiny_manifest(owners=[owner.digest_hex]))
    caller = attested(owner.spki, FakeEvidence(), guard.current())
    issue = partial(new_mesh_cert, claims=lambda _evidence: ())
    times = [NOON + timedelta(seconds=seconds) for seconds in (0, 30, 59)]

    for now in times:
        guard.now = lambda now=now: now
        issue(meshapi_pb2.NewMeshCertRequest(), caller, guard)
    guard.audit.flush()
    assert events_of(guard.audit) == ["set"]
    guard.now = lambda: NOON + timedelta(seconds=60)
    guard.audit.flush()

    newest = guard.audit.since(1)[0].members
    assert (newest["event"], newest["policy"], newest["count"]) == ("certificates", POLICY_HASH, 3)


def test_nothing_is_written_before_there_is_a_key_and_then_all_of_it(store: MemoryStore) -> None:
    log = new_log(store, key=None)
    write(log, "recover-refused")
    assert store.names("audit") == []
    assert [json.loads(event)["event"] for event in log.unwritten()] == ["recover-refused"]

    log.unlock(KEY)
    write(log, "recover")

    assert events_of(log) == ["recover-refused", "recover"]
    assert log.unwritten() == []


def test_two_coordinators_append_to_one_log(store: MemoryStore) -> None:
    ours, theirs = new_log(store), new_log(store)

    write(ours, "a")
    write(theirs, "b")
    write(ours, "c", "d")
    write(theirs, "e")

    assert events_of(theirs) == ["a", "b", "c", "d", "e"]
    assert events_of(new_log_after(store)) == ["a", "b", "c", "d", "e"]


def new_log_after(store: MemoryStore) -> AuditLog:
    """Return the log of a Coordinator that starts on this store."""
    log = new_log(store)
    log.flush()
    return log


def test_both_sides_continue_past_the_end_of_a_block(store: MemoryStore) -> None:
    ours, theirs = new_log(store), new_log(store)
    write(theirs, "first")

    write(ours, *["filler"] * (2 * BLOCK_ENTRIES))
    write(theirs, "last")

    events = events_of(new_log_after(store))
    assert len(events) == 2 * BLOCK_ENTRIES + 2
    assert (events[0], events[-1]) == ("first", "last")
    assert events_of(theirs) == events


def test_the_log_is_bounded_and_keeps_the_newest(store: MemoryStore) -> None:
    log = new_log(store)
    most = BLOCKS * BLOCK_ENTRIES

    for _ in range(2):
        write(log, *["old"] * (most // 2 + 1))
    write(log, "new")

    assert len(store.names("audit")) == BLOCKS
    after = new_log_after(store)
    assert [entry.number for entry in after.since(0)] == list(range(BLOCK_ENTRIES, most + 3))
    assert [entry.content for entry in after.since(0)] == [entry.content for entry in log.since(0)]


def forge(store: MemoryStore, *numbers: int) -> None:
    """Append entries that are linked, but that nobody with the key signed."""
    block = ext.AuditBlock.FromString(store.get("audit/0"))
    for number in numbers:
        previous = hashlib.sha256(block.Entries[-1].Content).hexdigest()
        members = {"number": number, "previous": previous, "event": "forged"}
        block.Entries.add(Content=json.dumps(members).encode(), Signature=b"0")
    store.set("audit/0", block.SerializeToString())


def test_entries_that_no_coordinator_signed_are_dropped_and_that_is_told(
    store: MemoryStore,
) -> None:
    write(new_log(store), "a", "b")
    forge(store, 2, 3)

    after = new_log_after(store)

    assert events_of(after) == ["a", "b", "log-incomplete"]
    assert (after.since(2)[0].members["found"], after.since(2)[0].members["kept"]) == (4, 2)


@pytest.mark.parametrize("place", [0, 1])
def test_a_changed_entry_takes_all_before_it_away_and_that_is_told(
    store: MemoryStore, place: int
) -> None:
    write(new_log(store), "a", "b", "c")
    block = ext.AuditBlock.FromString(store.get("audit/0"))
    block.Entries[place].Content = block.Entries[place].Content.replace(b"2026", b"2020")
    store.set("audit/0", block.SerializeToString())

    after = new_log_after(store)

    assert events_of(after) == [*"abc"[place + 1 :], "log-incomplete"]


def test_a_beginning_that_was_removed_is_told_once(store: MemoryStore) -> None:
    write(new_log(store), *["old"] * BLOCK_ENTRIES, "kept")

    del store._values["audit/0"]
    after = new_log_after(store)
    after.flush(is_last=True)

    assert events_of(after) == ["kept", "log-incomplete"]
    assert after.since(0)[-1].members["first"] == BLOCK_ENTRIES
    assert events_of(new_log_after(store)) == ["kept", "log-incomplete"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff", b"\n\x04\n\x02{}", b"\n\x05\n\x03[1]"],
    ids=["empty", "no block", "no number", "list"],
)
def test_a_running_coordinator_writes_back_what_was_changed(store: MemoryStore, raw: bytes) -> None:
    log = new_log(store)
    write(log, "a", "b")

    store.set("audit/0", raw)
    write(log, "c")
    log.flush(is_last=True)

    assert events_of(log) == ["a", "b", "c", "log-changed"]
    assert events_of(new_log_after(store)) == events_of(log)


def test_a_log_that_was_put_back_is_written_back(store: MemoryStore) -> None:
    log = new_log(store)
    write(log, "a")
    earlier = store.get("audit/0")
    write(log, "b")

    store.set("audit/0", earlier)
    write(log, "c")
    log.flush(is_last=True)

    assert events_of(new_log_after(store)) == ["a", "b", "c", "log-changed"]


def test_the_log_of_another_seed_is_not_continued(store: MemoryStore) -> None:
    write(new_log(store, key=ec.generate_private_key(ec.SECP384R1())), "theirs")

    after = new_log_after(store)

    assert events_of(after) == ["log-incomplete"]
    assert after.since(0)[0].number == 0


def test_a_store_that_fails_stops_nothing_and_loses_nothing(owner: Caller) -> None:
    store = BreakingStore()
    guard = make_guard(store)
    manifest = tiny_manifest(owners=[owner.digest_hex])
    put(guard, manifest)
    store.fail_at = store.writes + 1

    answer = fetch(guard, owner.identity)

    assert contents(answer) == []
    assert [json.loads(event)["event"] for event in answer.Unwritten] == ["set"]
    store.fail_at = None
    assert [entry["event"] for entry in contents(fetch(guard, owner.identity))] == ["set"]


def test_trouble_with_the_store_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    store = BreakingStore()
    store.fail_at = 1
    log = new_log(store)

    for _ in range(3):
        write(log, "a")

    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "The audit log cannot be written: cannot write audit/0: no space left on device"
    ]


def test_what_cannot_be_written_is_bounded_and_the_loss_is_told(store: MemoryStore) -> None:
    log = new_log(store, key=None)
    for _ in range(5000):
        log.record("a")

    assert len(log.unwritten()) == 4096
    log.unlock(KEY)
    log.flush()
    log.flush()

    newest = log.since(0)[-1].members
    assert (newest["event"], newest["count"]) == ("dropped", 5000 - 4096)


def test_long_texts_are_cut(store: MemoryStore) -> None:
    log = new_log(store)
    log.record("a", reason="x" * 10_000)
    log.flush()

    assert log.since(0)[0].members["reason"] == "x" * 200


def test_the_key_that_is_told_is_the_one_that_signs_the_history(
    guard: Guard, owner: Caller
) -> None:
    put(guard, tiny_manifest(owners=[owner.digest_hex]))

    told = fetch(guard, owner.identity).TransactionKey

    public = guard.current().engine.transaction_key.public_key()
    assert told == public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert guard.current().latest.is_signed_by(public)


class FaultyStore(MemoryStore):
    """A store with a bug: it raises what no store may."""

    def names(self, folder: str) -> list[str]:
        raise RuntimeError(folder)


def test_a_bug_stops_nothing_either(caplog: pytest.LogCaptureFixture) -> None:
    log = new_log(FaultyStore())

    write(log, "a", "b")
    write(log, "c")

    assert [json.loads(event)["event"] for event in log.unwritten()] == ["a", "b", "c"]
    assert [record.getMessage() for record in caplog.records] == [
        "The audit log failed",
        "The audit log cannot be written: RuntimeError",
    ]


class OneRound(threading.Event):
    """An event that is set when it is waited for the second time."""

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout == 1.0
        is_over = self.is_set()
        self.set()
        return is_over


def test_what_was_recorded_is_written_every_second_until_the_end(store: MemoryStore) -> None:
    log = new_log(store)
    log.record("a")

    log.keep(OneRound())

    assert events_of(new_log_after(store)) == ["a"]
