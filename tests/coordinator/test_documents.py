"""A history with gaps: what is lost is told, and the manifest in force is served all the same.

Each test meets a store as it is written today, with policies in packs, and as earlier versions wrote it, with an object for each.
"""

import zlib
from collections.abc import Callable

import pytest

from contrast_tasks.api.packs import pack_documents
from coordinator.documents import read_documents
from coordinator.history import HistoryCorrupt, sha256
from coordinator.state import Keys, State
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import (
    ENGINE,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    make_guard,
    put_tiny,
    tiny_manifest,
)

OLDEST = tiny_manifest({POLICY_HASH: {"SANs": ["web"]}}, owners=["00" * 32])
OLDER = tiny_manifest({POLICY_HASH: {"SANs": ["web"]}}, owners=["11" * 32])
NEWEST = tiny_manifest({OTHER_POLICY_HASH: {"SANs": ["web"]}}, owners=["11" * 32])


@pytest.fixture(params=["packs", "policies"])
def states(request: pytest.FixtureRequest, store: MemoryStore) -> list[State]:
    """Return the states of three manifests."""
    guard = make_guard(store)
    first = put_tiny(guard, None, OLDEST, POLICY)
    second = put_tiny(guard, first, OLDER, POLICY)
    third = put_tiny(guard, second, NEWEST, OTHER_POLICY)
    if request.param == "policies":
        for name in store.names("packs"):
            remove(store, f"packs/{name}")
        for policy in (POLICY, OTHER_POLICY):
            store.set(f"policies/{sha256(policy).hex()}", policy)
    return [first, second, third]


def object_with(store: MemoryStore, policy: bytes) -> str:
    """Return the key under which a policy is stored, in a pack or by itself."""
    return next(
        key
        for key, value in store._values.items()
        if value == policy or (key.startswith("packs/") and policy in zlib.decompress(value))
    )


def remove(store: MemoryStore, key: str) -> None:
    del store._values[key]


def change(store: MemoryStore, key: str) -> None:
    store.set(key, b"of somebody else")


def recovered(store: MemoryStore) -> State:
    guard = make_guard(store)
    return guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))


DAMAGES = pytest.mark.parametrize("damage", [remove, change])
Damage = Callable[[MemoryStore, str], None]


def test_what_is_read_equals_what_was_written(states: list[State], store: MemoryStore) -> None:
    documents = recovered(store).documents

    assert [each.transition for each in documents.generations] == [
        state.latest.transition_hash for state in states
    ]
    assert documents.is_whole
    assert [*documents.manifests] == [OLDEST, OLDER, NEWEST]
    assert documents.contents(documents.policy_names) == {
        POLICY_HASH: POLICY,
        OTHER_POLICY_HASH: OTHER_POLICY,
    }
    assert documents.transitions == [state.latest.transition_hash for state in states]
    assert documents.size == sum(map(len, (OLDEST, OLDER, NEWEST, POLICY, OTHER_POLICY)))


@DAMAGES
def test_an_old_manifest_that_is_lost_leaves_a_gap(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, f"manifests/{sha256(OLDER).hex()}")

    state = recovered(store)

    assert state.generation == 3
    assert [each.is_lost for each in state.documents.generations] == [False, True, False]
    assert [*state.documents.manifests] == [OLDEST, NEWEST]
    assert state.documents.generations[1].manifest_hash == sha256(OLDER)
    assert state.documents.transitions == states[-1].documents.transitions
    assert not state.documents.is_whole
    assert state.ca.root_ca_pem == states[-1].ca.root_ca_pem


@DAMAGES
def test_a_policy_that_is_lost_is_named_and_an_update_brings_it_back(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, object_with(store, POLICY))
    guard = make_guard(store)

    state = guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))

    assert len(states) == state.generation
    assert state.documents.lost_policies == (POLICY_HASH,)
    assert state.documents.contents(state.documents.policy_names) == {
        OTHER_POLICY_HASH: OTHER_POLICY
    }
    assert put_tiny(guard, state, OLDER, POLICY).documents.is_whole
    assert recovered(store).documents.is_whole


@DAMAGES
def test_of_a_chain_that_is_broken_the_newer_part_is_served(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    lost = states[0].latest.transition_hash
    damage(store, f"transitions/{lost.hex()}")

    state = recovered(store)

    assert state.documents.before == lost
    assert [*state.documents.manifests] == [OLDER, NEWEST]
    assert state.generation == 2
    assert state.ca.root_ca_pem == states[0].ca.root_ca_pem


@DAMAGES
def test_without_the_newest_manifest_nothing_is_served(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, f"manifests/{sha256(NEWEST).hex()}")

    with pytest.raises(HistoryCorrupt, match="manifests/"):
        recovered(store)
    with pytest.raises(HistoryCorrupt, match="manifests/"):
        read_documents(make_guard(store).history, states[-1].latest.transition_hash)


@DAMAGES
def test_without_the_newest_transition_nothing_is_served(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, f"transitions/{states[-1].latest.transition_hash.hex()}")

    with pytest.raises(HistoryCorrupt, match="transitions/"):
        recovered(store)


def test_a_restart_finds_the_packs_that_the_updates_made(store: MemoryStore) -> None:
    guard = make_guard(store)
    newest = put_tiny(guard, put_tiny(guard, None, OLDEST, POLICY), NEWEST, OTHER_POLICY)

    assert recovered(store).documents == newest.documents


def test_an_update_puts_the_policies_of_an_older_store_into_packs(
    states: list[State], store: MemoryStore
) -> None:
    guard = make_guard(store)
    state = guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))
    put_tiny(guard, state, OLDER, POLICY)
    for name in store.names("policies"):
        remove(store, f"policies/{name}")

    documents = recovered(store).documents

    assert len(documents.generations) == len(states) + 1
    assert POLICY_HASH in documents.policy_names


def test_an_update_brings_back_removed_packs_that_its_manifest_needs(store: MemoryStore) -> None:
    guard = make_guard(store)
    first = put_tiny(guard, None, OLDEST, POLICY)
    remove(store, object_with(store, POLICY))

    put_tiny(guard, first, OLDER, POLICY)

    assert recovered(store).documents.is_whole


def test_packs_that_no_manifest_needs_are_not_kept(store: MemoryStore) -> None:
    guard = make_guard(store)
    put_tiny(guard, None, OLDEST, POLICY)
    guard.history.put_packs(pack_documents([b"of an interrupted set"]))

    assert len(recovered(store).documents.packs) == 2


def test_a_manifest_too_large_for_one_object_is_kept_in_a_pack(store: MemoryStore) -> None:
    guard = make_guard(store)
    large = tiny_manifest({POLICY_HASH: {"SANs": [f"web-{number}" for number in range(150_000)]}})
    assert len(large) > 1024 * 1024

    put_tiny(guard, None, large, POLICY)

    state = recovered(store)
    assert state.manifest_bytes == large
    assert [*state.documents.manifests] == [large]
    assert store.names("manifests") == []
    assert max(map(len, store._values.values())) < 1024 * 1024
