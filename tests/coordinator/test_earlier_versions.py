"""A store that the last version before packs has written, f549469, and what a Coordinator of that version needs of ours.

`recorded/before_packs.json` was made by that version with the seed and salt below: by name of the store the objects by key. It says what
tiny policies and manifests need; their form is that of docs/internals/coordinator.md 8.1.
"""

import hashlib
import json
import logging
from base64 import b64decode
from pathlib import Path

import pytest

from coordinator.state import Guard, Keys, State
from coordinator.store.base import StoreConflict
from coordinator.store.memory import MemoryStore
from coordinator.unavailable import InRecovery
from tests.fakes.coordinator import ENGINE, make_guard, put_tiny, tiny_manifest

RECORDED = json.loads(
    Path(__file__).with_name("recorded").joinpath("before_packs.json").read_text()
)
POLICY = b"package agent_policy # new\n"
MANIFEST = tiny_manifest({hashlib.sha256(POLICY).hexdigest(): {"SANs": ["web"]}})


def recorded(name: str) -> MemoryStore:
    return MemoryStore({key: b64decode(value) for key, value in RECORDED[name].items()})


def recover(guard: Guard) -> State:
    return guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))


def set_manifest(guard: Guard, old: State | None) -> State:
    return put_tiny(guard, old, MANIFEST, POLICY)


def test_its_history_is_whole_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    store = recorded("two sets")
    guard = make_guard(store)

    state = recover(guard)
    after = set_manifest(guard, state)

    assert state.documents.is_whole
    assert "has policies of an earlier version" in caplog.text
    assert state.generation == 2
    assert {hashlib.sha256(each).hexdigest() for each in state.documents.policies} == set(
        store.names("policies")
    )
    assert recover(make_guard(store)).documents.transitions == after.documents.transitions


def test_it_finds_the_newer_manifest_and_all_of_its_own() -> None:
    """It takes the newer one over from a peer: head, chain and manifests have their places, only new policies do not."""
    store = recorded("two sets")
    before = dict(store._values)
    guard = make_guard(store)

    new = set_manifest(guard, recover(guard))

    kept = {key: value for key, value in before.items() if not key.startswith("audit/")}
    kept.pop("transitions/latest")
    assert {key: store.get(key) for key in kept} == kept
    digest, manifests = store.get("transitions/latest")[:32], list[bytes]()
    while digest != bytes(32):
        step = store.get(f"transitions/{digest.hex()}")
        assert hashlib.sha256(step).digest() == digest
        manifests.append(store.get(f"manifests/{step[:32].hex()}"))
        digest = step[32:]
    assert manifests == [*new.documents.manifests][::-1]
    assert len(manifests) == 3


@pytest.mark.parametrize("name", ["end not noted", "end not noted, after a set that broke off"])
def test_a_first_set_whose_end_it_could_not_note_stays_in_force(name: str) -> None:
    """It answered all the same, so that somebody has the seed; to begin anew would lose the root CA."""
    store = recorded(name)
    guard = make_guard(store)

    with pytest.raises(InRecovery):
        guard.current()
    with pytest.raises(StoreConflict):
        set_manifest(guard, None)

    assert recover(guard).generation == 1


def test_a_first_set_that_it_began_may_be_begun_again_and_again() -> None:
    store = recorded("end not noted, after a set that broke off")
    del store._values["transitions/latest"]
    guard = make_guard(store)

    assert guard.status().name == "initial"
    for _ in range(2):
        guard.history.begin(hashlib.sha256(b"one that breaks off").digest())

    assert make_guard(store).status().name == "initial"
