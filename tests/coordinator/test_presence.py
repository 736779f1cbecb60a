"""Two Coordinators on one store, and what one knows of the other."""

import fcntl
import multiprocessing
from pathlib import Path

import grpc
import pytest

from contrast_tasks.api import userapi_pb2 as pb
from coordinator.presence import Alone, LockPresence
from coordinator.refusal import Refusal, refusal_from
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from coordinator.userapi import recover, set_manifest
from tests.fakes.coordinator import NOBODY, POLICY, Caller, make_guard, tiny_manifest


def test_nobody_serves_at_first(tmp_path: Path) -> None:
    assert not LockPresence(tmp_path / "state").others()


def test_who_serves_is_seen_until_it_withdraws(tmp_path: Path) -> None:
    one, other = LockPresence(tmp_path), LockPresence(tmp_path)
    one.announce()
    one.announce()

    assert other.others()
    assert other.others()

    one.withdraw()
    assert not other.others()


def test_several_may_serve(tmp_path: Path) -> None:
    one, other, third = (LockPresence(tmp_path) for _ in range(3))
    one.announce()
    other.announce()
    one.withdraw()

    assert third.others()


def test_who_looks_at_a_file_before_it_is_locked_does_not_hide_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = LockPresence(tmp_path), LockPresence(tmp_path)
    lock = fcntl.flock

    def look_first(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        assert not other.others()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", look_first)
    one.announce()

    assert len(other.others()) == 1


def serve_and_die(folder: Path) -> None:
    LockPresence(folder).announce()


@pytest.mark.e2e
def test_a_process_that_is_gone_serves_no_more(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=serve_and_die, args=(tmp_path,))
    process.start()
    process.join(30)

    assert process.exitcode == 0
    assert not LockPresence(tmp_path).others()


def test_a_folder_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot lock"):
        LockPresence(tmp_path / "file").others()


def test_recovery_is_refused_while_another_one_serves_unless_forced(
    store: MemoryStore, tmp_path: Path, seedshare_owner: Caller
) -> None:
    first = make_guard(store)
    first.presence = LockPresence(tmp_path)
    manifest = tiny_manifest(seedshare_owners=[seedshare_owner.pkcs1_hex])
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, first)
    engine = first.current().engine
    second = make_guard(store)
    second.presence = LockPresence(tmp_path)
    request = pb.RecoverRequest(Seed=engine.seed, Salt=engine.salt)

    with pytest.raises(Refusal, match="recovered peers are available") as caught:
        recover(request, seedshare_owner.identity, second)

    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.reason == "peers_available"
    assert second.status().name == "recovery"
    request.Force = True
    recover(request, seedshare_owner.identity, second)
    assert second.status().name == "final"


def test_case_16_recovery_needs_to_know_of_others_unless_forced(
    store: MemoryStore, seedshare_owner: Caller
) -> None:
    class Unknown(Alone):
        """Others cannot be listed."""

        def others(self) -> list[str]:
            raise StoreError("cannot list pods")

    first = make_guard(store)
    manifest = tiny_manifest(seedshare_owners=[seedshare_owner.pkcs1_hex])
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, first)
    engine = first.current().engine
    second = make_guard(store)
    second.presence = Unknown()
    request = pb.RecoverRequest(Seed=engine.seed, Salt=engine.salt)

    with pytest.raises(StoreError) as caught:
        recover(request, seedshare_owner.identity, second)

    assert refusal_from(caught.value).code is grpc.StatusCode.INTERNAL
    request.Force = True
    recover(request, seedshare_owner.identity, second)
    assert second.status().name == "final"


def test_force_gives_nobody_rights(
    store: MemoryStore, tmp_path: Path, seedshare_owner: Caller, other_seedshare_owner: Caller
) -> None:
    first = make_guard(store)
    manifest = tiny_manifest(seedshare_owners=[seedshare_owner.pkcs1_hex])
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=[POLICY]), NOBODY, first)
    engine = first.current().engine
    second = make_guard(store)
    request = pb.RecoverRequest(Seed=engine.seed, Salt=engine.salt, Force=True)

    with pytest.raises(Refusal) as caught:
        recover(request, other_seedshare_owner.identity, second)

    assert caught.value.code is grpc.StatusCode.PERMISSION_DENIED


def test_a_stale_one_does_not_count(store: MemoryStore, tmp_path: Path) -> None:
    guard = make_guard(store)
    guard.presence = LockPresence(tmp_path)
    set_manifest(pb.SetManifestRequest(Manifest=tiny_manifest(), Policies=[POLICY]), NOBODY, guard)
    other = LockPresence(tmp_path)
    assert other.others()

    guard.outdate(guard.current())

    assert not other.others()
