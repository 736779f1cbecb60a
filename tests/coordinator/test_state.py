import json
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from contrast_tasks.errors import UsageError
from contrast_tasks.manifest.validate import ManifestError
from coordinator.history import History, HistoryCorrupt, sha256, sign_latest
from coordinator.seedengine import BadSeed, SeedEngine
from coordinator.service import parse_new, parse_stored
from coordinator.state import Guard, Keys, State
from coordinator.store.base import StoreConflict, StoreError
from coordinator.store.file import FileStore
from coordinator.store.memory import MemoryStore
from coordinator.unavailable import (
    ConcurrentUpdate,
    HistoryInconsistent,
    InRecovery,
    NoManifest,
    RolledBack,
)
from coordinator.watch import observe
from tests.fakes.coordinator import (
    ENGINE,
    POLICY,
    BreakingStore,
    Clock,
    make_guard,
    put_tiny,
    tiny_manifest,
)
from tests.manifest import samples

MANIFEST = tiny_manifest(owners=["00" * 32])
OTHER = tiny_manifest(owners=["11" * 32])


def update(guard: Guard, old: State | None, content: bytes = MANIFEST) -> State:
    return put_tiny(guard, old, content)


def test_at_first_there_is_no_manifest(guard: Guard) -> None:
    with pytest.raises(NoManifest):
        guard.current()
    assert guard.status().name == "initial"
    assert guard.status().generation == 0


def test_the_first_update_creates_generation_one(guard: Guard) -> None:
    state = update(guard, None)

    assert guard.current() is state
    assert guard.is_current(state)
    assert state.generation == 1
    assert state.manifest_bytes == MANIFEST
    assert guard.status().name == "active"


def test_without_owners_the_state_is_final(guard: Guard) -> None:
    update(guard, None, tiny_manifest())

    assert guard.status().name == "final"


def test_the_generation_counts_every_update_and_the_chain_is_as_long(guard: Guard) -> None:
    state = update(guard, None)

    for _ in range(11):
        state = update(guard, state)

    assert guard.status().generation == 12
    assert len(list(guard.history.walk(state.latest.transition_hash))) == 12


def test_an_update_rotates_the_mesh_ca_and_keeps_the_root(guard: Guard) -> None:
    first = update(guard, None)
    second = update(guard, first, OTHER)

    assert second.ca.mesh_ca_pem != first.ca.mesh_ca_pem
    assert second.ca.root_ca_pem == first.ca.root_ca_pem
    assert not guard.is_current(first)


def test_the_head_is_signed_by_the_transaction_key(guard: Guard) -> None:
    state = update(guard, None)

    latest = guard.history.latest_unverified()

    assert latest == state.latest
    assert latest is not None
    assert latest.is_signed_by(ENGINE.transaction_key.public_key())


def test_an_update_based_on_an_old_state_is_refused(guard: Guard) -> None:
    first = update(guard, None)
    second = update(guard, first)

    with pytest.raises(ConcurrentUpdate):
        update(guard, first)
    with pytest.raises(ConcurrentUpdate):
        update(guard, None)

    assert guard.current() is second


def test_of_many_threads_with_the_same_base_exactly_one_wins(guard: Guard) -> None:
    base = update(guard, None)
    barrier = threading.Barrier(8)
    won: list[State] = []
    lost: list[ConcurrentUpdate] = []

    def race(number: int) -> None:
        content = tiny_manifest(owners=[f"{number:064x}"])
        barrier.wait()
        try:
            won.append(update(guard, base, content))
        except ConcurrentUpdate as err:
            lost.append(err)

    threads = [threading.Thread(target=race, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(won) == 1
    assert len(lost) == 7
    assert guard.current() is won[0]
    assert guard.history.latest_unverified() == won[0].latest


def test_fault_17_5_of_two_coordinators_on_one_store_the_slower_loses(store: MemoryStore) -> None:
    quick, slow = make_guard(store), make_guard(store)
    winner = update(quick, None)

    with pytest.raises(StoreConflict):
        update(slow, None)

    assert quick.current() is winner
    with pytest.raises(InRecovery):
        slow.current()


# pack of policies, manifest, mark of the beginning, time, transition, head, mark of the end
FIRST_SET_WRITES = 7


@pytest.mark.parametrize("fail_at", range(1, FIRST_SET_WRITES + 1))
def test_a_failure_at_any_write_of_the_first_set_leaves_no_manifest(fail_at: int) -> None:
    store = BreakingStore()
    store.fail_at = fail_at
    guard = make_guard(store)

    with pytest.raises(StoreError):
        update(guard, None)

    with pytest.raises(NoManifest):
        guard.current()
    store.fail_at = None
    assert update(guard, None).generation == 1


@pytest.mark.parametrize("fail_at", range(1, FIRST_SET_WRITES + 1))
def test_a_first_set_that_crashed_at_any_write_starts_over_after_a_restart(fail_at: int) -> None:
    store = BreakingStore()
    store.fail_at = fail_at
    for content in (MANIFEST, OTHER):
        with pytest.raises(StoreError):
            update(make_guard(store), None, content)
        store.fail_at = store.writes + fail_at
    store.fail_at = None

    restarted = make_guard(store)

    with pytest.raises(NoManifest):
        restarted.current()
    assert update(restarted, None).generation == 1


def test_a_first_set_counts_as_done_once_its_end_is_noted() -> None:
    """Until then nobody got an answer, and with it the seed; so there is nothing to recover."""
    store = BreakingStore()
    store.fail_at = FIRST_SET_WRITES
    with pytest.raises(StoreError):
        update(make_guard(store), None)
    store.fail_at = None
    assert store.names("transitions")[-1] == "latest"
    with pytest.raises(NoManifest):
        make_guard(store).reset(None, lambda _: Keys(ENGINE))

    state = update(guard := make_guard(store), None)

    assert guard.current() is state
    assert make_guard(store).status().name == "recovery"


@pytest.mark.parametrize("key", ["metadata/unfinished", "transitions/latest"])
def test_of_two_first_sets_of_one_manifest_the_one_that_began_later_ends(key: str) -> None:
    """The first one gets so far that only the mark of its end is missing, or the head too."""

    class Overtaken(MemoryStore):
        """Lets another Coordinator set the same manifest shortly before a swap."""

        is_overtaken = False

        def compare_and_swap(self, where: str, old: bytes, new: bytes) -> None:
            begins = where == "metadata/unfinished" and len(new) > 32
            if where == key and not begins and not self.is_overtaken:
                self.is_overtaken = True
                won.append(update(quick, None))
            super().compare_and_swap(where, old, new)

    store, won = Overtaken(), list[State]()
    slow, quick = make_guard(store), make_guard(store)

    with pytest.raises(StoreConflict):
        update(slow, None)

    assert quick.current() is won[0]
    assert store.get("transitions/latest") == won[0].latest.render()
    assert slow.status().name == "recovery"


@pytest.mark.parametrize(
    ("sets_before", "key", "name", "generation"),
    [
        # Its end is not noted, so the next first set starts over.
        pytest.param(0, "transitions/latest", "initial", 0, id="head of the first"),
        pytest.param(0, "metadata/unfinished", "active", 1, id="end of the first"),
        pytest.param(1, "transitions/latest", "active", 2, id="head of the second"),
    ],
)
def test_a_swap_that_was_made_although_it_failed_is_found_out(
    sets_before: int, key: str, name: str, generation: int
) -> None:
    """As when the answer of an API server is lost: the state is the one that the store says, and no seed is lost."""

    class Mute(MemoryStore):
        """Fails after a swap of one key."""

        is_mute = False

        def compare_and_swap(self, where: str, old: bytes, new: bytes) -> None:
            super().compare_and_swap(where, old, new)
            begins = where == "metadata/unfinished" and len(new) > 32
            if self.is_mute and where == key and not begins:
                raise StoreError("the answer was lost")

    store = Mute()
    guard = make_guard(store)
    old = update(guard, None) if sets_before else None
    store.is_mute = True

    with pytest.raises(StoreError, match="the answer was lost"):
        update(guard, old, OTHER)
    store.is_mute = False
    observe(guard)

    assert (guard.status().name, guard.status().generation) == (name, generation)
    restarted = "recovery" if generation else "initial"
    assert make_guard(store).status().name == restarted
    current = guard.current() if generation else None
    assert update(guard, current).generation == generation + 1


def test_a_head_deleted_after_crashed_first_sets_is_not_taken_for_another() -> None:
    store = BreakingStore()
    store.fail_at = FIRST_SET_WRITES
    with pytest.raises(StoreError):
        update(make_guard(store), None)
    store.fail_at = None
    update(make_guard(store), None)

    del store._values["transitions/latest"]

    assert make_guard(store).status().name == "inconsistent"


@pytest.mark.parametrize("fail_at", range(1, 5))
def test_fault_17_5_a_failure_at_any_write_of_an_update_leaves_the_old_state(fail_at: int) -> None:
    store = BreakingStore()
    guard = make_guard(store)
    old = update(guard, None)
    store.fail_at = store.writes + fail_at

    with pytest.raises(StoreError):
        update(guard, old, OTHER)

    assert guard.current() is old
    assert guard.history.latest_unverified() == old.latest
    store.fail_at = None
    assert update(guard, old, OTHER).generation == 2


def test_a_crash_before_the_head_of_an_update_recovers_to_the_old_manifest() -> None:
    store = BreakingStore()
    guard = make_guard(store)
    old = update(guard, None)
    store.fail_at = store.writes + 4
    with pytest.raises(StoreError):
        update(guard, old, OTHER)
    store.fail_at = None

    restarted = make_guard(store)
    recovered = restarted.reset(restarted.unrecovered(), lambda _: Keys(ENGINE))

    assert recovered.manifest_bytes == MANIFEST
    assert recovered.generation == 1


def test_after_a_restart_the_coordinator_is_in_recovery(store: MemoryStore) -> None:
    update(make_guard(store), None)

    restarted = make_guard(store)

    with pytest.raises(InRecovery):
        restarted.current()
    assert restarted.status().name == "recovery"
    assert restarted.status().generation == 0


def test_recovery_brings_back_manifest_generation_and_root(store: MemoryStore) -> None:
    guard = make_guard(store)
    before = update(guard, update(guard, None), OTHER)

    restarted = make_guard(store)
    restarted.now().replace()  # another moment than the first set's
    after = restarted.reset(restarted.unrecovered(), lambda _: Keys(ENGINE))

    assert after.manifest_bytes == OTHER
    assert after.generation == 2
    assert after.ca.root_ca_pem == before.ca.root_ca_pem
    assert after.ca.mesh_ca_pem != before.ca.mesh_ca_pem
    assert restarted.current() is after
    assert update(restarted, after).generation == 3


def test_without_the_stored_time_the_root_certificate_is_issued_anew(store: MemoryStore) -> None:
    guard = make_guard(store)
    before = update(guard, None)
    key = f"metadata/{before.latest.transition_hash.hex()}"
    store.set(key, b"garbage")

    restarted = make_guard(store)
    later = restarted.now() + timedelta(days=1)
    restarted.now = lambda: later
    after = restarted.reset(None, lambda _: Keys(ENGINE))

    old_root = x509.load_pem_x509_certificate(before.ca.root_ca_pem)
    new_root = x509.load_pem_x509_certificate(after.ca.root_ca_pem)
    assert new_root.not_valid_before_utc > old_root.not_valid_before_utc
    assert new_root.public_key() == old_root.public_key()
    assert new_root.serial_number == old_root.serial_number


def test_recovery_with_another_seed_is_refused(store: MemoryStore) -> None:
    update(make_guard(store), None)
    restarted = make_guard(store)

    with pytest.raises(BadSeed) as caught:
        restarted.reset(None, lambda _: Keys(SeedEngine(bytes(64), bytes(32))))

    head = restarted.history.latest_unverified()
    assert head is not None
    text = str(caught.value)
    assert text.startswith(
        "history object transitions/latest is not signed by the key of this seed"
    )
    assert f"found a signature over {head.transition_hash.hex()}" in text
    assert "wanted one by the key with sha256 " in text
    assert restarted.status().name == "recovery"


def test_a_restored_older_head_is_not_served_to_who_knows_a_newer_one(store: MemoryStore) -> None:
    guard = make_guard(store)
    first = update(guard, None)
    older = store.get("transitions/latest")
    second = update(guard, first, OTHER)
    store.set("transitions/latest", older)
    restarted = make_guard(store)

    with pytest.raises(RolledBack) as caught:
        restarted.reset(None, lambda _: Keys(ENGINE), known=second.latest.transition_hash)

    assert first.latest.transition_hash.hex() in str(caught.value)
    assert second.latest.transition_hash.hex() in str(caught.value)
    assert restarted.status().name == "recovery"


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_who_knows_any_transition_up_to_the_newest_recovers(store: MemoryStore, seen: int) -> None:
    guard = make_guard(store)
    states = [update(guard, None)]
    for _ in range(2):
        states.append(update(guard, states[-1]))
    restarted = make_guard(store)

    known = states[seen].latest.transition_hash
    after = restarted.reset(None, lambda _: Keys(ENGINE), known=known)

    assert after.generation == 3


def test_a_manifest_from_before_a_rule_is_recovered_and_refused_as_a_new_one(
    store: MemoryStore,
) -> None:
    secret_id = ("Policies", samples.WEB, "WorkloadSecretID")
    document = samples.changed(samples.document(), secret_id, "0_x")
    document["Policies"][samples.COORDINATOR]["WorkloadSecretID"] = "x"
    content = json.dumps(document).encode()
    before = Guard(History(store), parse=parse_stored, now=Clock())
    before.update(
        None,
        engine=ENGINE,
        manifest=parse_stored(content),
        manifest_bytes=content,
        policies=[POLICY],
    )

    after = Guard(History(store), parse=parse_new, parse_stored=parse_stored, now=Clock())
    recovered = after.reset(after.unrecovered(), lambda _: Keys(ENGINE))

    assert recovered.manifest_bytes == content
    with pytest.raises(ManifestError, match="would begin with a transit key of 'x'"):
        after.parse(content)


def test_there_is_nothing_to_recover_from_at_first(guard: Guard) -> None:
    with pytest.raises(NoManifest):
        guard.unrecovered()
    with pytest.raises(NoManifest):
        guard.reset(None, lambda _: Keys(ENGINE))


def test_a_state_in_order_is_not_recovered(guard: Guard) -> None:
    update(guard, None)

    with pytest.raises(ConcurrentUpdate, match="already recovered"):
        guard.unrecovered()


def test_recovery_refuses_a_head_that_moves_meanwhile(store: MemoryStore) -> None:
    guard = make_guard(store)
    state = update(guard, None)
    restarted = make_guard(store)

    def engine_while_the_other_updates(_stored: object) -> Keys:
        update(guard, state, OTHER)
        return Keys(ENGINE)

    with pytest.raises(ConcurrentUpdate):
        restarted.reset(None, engine_while_the_other_updates)


def test_what_the_authoriser_raises_ends_the_recovery(store: MemoryStore) -> None:
    update(make_guard(store), None)
    restarted = make_guard(store)

    def refuse(_stored: object) -> Keys:
        raise UsageError("no")

    with pytest.raises(UsageError):
        restarted.reset(None, refuse)
    assert restarted.status().name == "recovery"


def test_a_manifest_changed_on_disk_stops_recovery_and_is_named(tmp_path: Path) -> None:
    update(make_guard(FileStore(tmp_path)), None)
    path = tmp_path / "manifests" / sha256(MANIFEST).hex()

    path.write_bytes(MANIFEST + b" ")

    restarted = make_guard(FileStore(tmp_path))
    with pytest.raises(HistoryCorrupt, match="manifests/") as caught:
        restarted.reset(None, lambda _: Keys(ENGINE))
    assert caught.value.where is not None
    assert caught.value.where.file == str(path)


def test_a_stale_state_is_not_served_and_can_be_recovered(store: MemoryStore) -> None:
    guard = make_guard(store)
    state = update(guard, None)

    state.mark_stale()

    with pytest.raises(InRecovery):
        guard.current()
    with pytest.raises(InRecovery):
        update(guard, state)
    assert guard.status().name == "stale"
    assert not guard.is_current(state)
    fresh = guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))
    assert guard.current() is fresh


def test_a_deleted_head_is_not_taken_for_the_first_start(store: MemoryStore) -> None:
    update(make_guard(store), None)
    del store._values["transitions/latest"]

    restarted = make_guard(store)

    with pytest.raises(HistoryInconsistent) as caught:
        restarted.current()
    assert "--force-new" in caught.value.hint
    assert restarted.status().name == "inconsistent"
    assert make_guard(store, force_new=True).status().name == "initial"


def test_a_head_cut_short_on_disk_is_reported_and_not_taken_for_the_first_start(
    tmp_path: Path,
) -> None:
    update(make_guard(FileStore(tmp_path)), None)
    path = tmp_path / "transitions" / "latest"

    path.write_bytes(path.read_bytes()[:20])

    restarted = make_guard(FileStore(tmp_path))
    with pytest.raises(HistoryCorrupt, match="found 20 bytes, wanted more than 32"):
        restarted.current()
    assert restarted.status().name == "inconsistent"
    assert "transitions/latest was changed" in restarted.status().reason


def test_a_store_that_cannot_be_read_shows_in_the_status() -> None:
    class Unreadable(MemoryStore):
        def get(self, key: str) -> bytes:
            raise StoreError("cannot read")

    assert make_guard(Unreadable()).status().name == "unknown"


def test_neither_state_nor_engine_show_secrets(guard: Guard) -> None:
    state = update(guard, None)

    assert "seed" not in repr(state)
    assert "owners" not in repr(state)


def test_a_head_signed_by_a_stranger_does_not_recover(store: MemoryStore) -> None:
    state = update(make_guard(store), None)
    stranger = SeedEngine(bytes(64), bytes(32)).transaction_key
    store.set("transitions/latest", sign_latest(stranger, state.latest.transition_hash).render())

    with pytest.raises(BadSeed):
        make_guard(store).reset(None, lambda _: Keys(ENGINE))
