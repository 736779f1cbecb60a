"""A history with gaps: what is lost is told, and the manifest in force is served all the same."""

from collections.abc import Callable

import pytest

from coordinator.documents import read_documents
from coordinator.history import HistoryCorrupt, sha256
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, Keys, State
from tests.fakes.coordinator import (
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    make_guard,
    parse_tiny,
    tiny_manifest,
)
from tests.fakes.store import MemoryStore

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
OLDEST = tiny_manifest({POLICY_HASH: {"SANs": ["web"]}}, owners=["00" * 32])
OLDER = tiny_manifest({POLICY_HASH: {"SANs": ["web"]}}, owners=["11" * 32])
NEWEST = tiny_manifest({OTHER_POLICY_HASH: {"SANs": ["web"]}}, owners=["11" * 32])


def put(guard: Guard, old: State | None, content: bytes, policy: bytes) -> State:
    return guard.update(
        old,
        engine=ENGINE,
        manifest=parse_tiny(content),
        manifest_bytes=content,
        policies=[policy],
    )


@pytest.fixture
def states(store: MemoryStore) -> list[State]:
    """Return the states of three manifests."""
    guard = make_guard(store)
    first = put(guard, None, OLDEST, POLICY)
    second = put(guard, first, OLDER, POLICY)
    return [first, second, put(guard, second, NEWEST, OTHER_POLICY)]


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

    assert documents == states[-1].documents
    assert documents.is_whole
    assert documents.manifests == [OLDEST, OLDER, NEWEST]
    assert documents.policies == {POLICY_HASH: POLICY, OTHER_POLICY_HASH: OTHER_POLICY}
    assert documents.transitions == [state.latest.transition_hash for state in states]
    assert documents.size == sum(map(len, (OLDEST, OLDER, NEWEST, POLICY, OTHER_POLICY)))


@DAMAGES
def test_an_old_manifest_that_is_lost_leaves_a_gap(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, f"manifests/{sha256(OLDER).hex()}")

    state = recovered(store)

    assert state.generation == 3
    assert [each.manifest for each in state.documents.generations] == [OLDEST, None, NEWEST]
    assert state.documents.generations[1].manifest_hash == sha256(OLDER)
    assert state.documents.transitions == states[-1].documents.transitions
    assert not state.documents.is_whole
    assert state.ca.root_ca_pem == states[-1].ca.root_ca_pem


@DAMAGES
def test_a_policy_that_is_lost_is_named_and_an_update_brings_it_back(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    damage(store, f"policies/{POLICY_HASH}")
    guard = make_guard(store)

    state = guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))

    assert len(states) == state.generation
    assert state.documents.lost_policies == (POLICY_HASH,)
    assert state.documents.policies == {OTHER_POLICY_HASH: OTHER_POLICY}
    assert put(guard, state, OLDER, POLICY).documents.is_whole
    assert recovered(store).documents.is_whole


@DAMAGES
def test_of_a_chain_that_is_broken_the_newer_part_is_served(
    states: list[State], store: MemoryStore, damage: Damage
) -> None:
    lost = states[0].latest.transition_hash
    damage(store, f"transitions/{lost.hex()}")

    state = recovered(store)

    assert state.documents.before == lost
    assert state.documents.manifests == [OLDER, NEWEST]
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
