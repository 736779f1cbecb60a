"""Every way in which an object of a store can be damaged, and what is told of it."""

from collections.abc import Callable

import pytest

from coordinator.fsck import inspect
from coordinator.history import History
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import make_guard, new_owner
from tests.fakes.kept_store import KeptStore, keep

Damage = Callable[[MemoryStore, KeptStore], str]
"""Damages a store, and returns the key that has to be named."""


@pytest.fixture
def kept(store: MemoryStore) -> KeptStore:
    return keep(store)


def test_a_store_that_nobody_damaged_is_whole(store: MemoryStore, kept: KeptStore) -> None:
    found = inspect(History(store), kept.transaction_key)

    assert found.is_whole
    assert found.problems == ()
    assert found.head == kept.guard.current().latest
    assert found.is_signed is True
    assert found.generations == 2
    assert found.orphans == ()
    # Everything but the note on the first set, the head last.
    assert set(found.needed) == set(store._values) - {"metadata/unfinished"}
    assert found.needed[-1] == "transitions/latest"


def test_without_a_key_the_signature_is_not_judged(store: MemoryStore, kept: KeptStore) -> None:
    assert inspect(History(store)).is_signed is None
    assert inspect(History(store)).is_whole


def test_the_key_of_another_seed_signed_nothing(store: MemoryStore, kept: KeptStore) -> None:
    other = new_owner().key.public_key()

    found = inspect(History(store), other)  # type: ignore[arg-type]  # an elliptic curve key

    assert found.is_signed is False
    assert [each.key.partition("/")[0] for each in found.problems] == [
        "audit",
        "metadata",
        "transitions",
    ]


def test_an_empty_store_is_whole(store: MemoryStore) -> None:
    assert inspect(History(store)).is_empty
    assert inspect(History(store)).is_whole


def removed(key: str) -> Damage:
    def damage(store: MemoryStore, kept: KeptStore) -> str:
        found = _named(key, store, kept)
        del store._values[found]
        return found

    return damage


def changed(key: str) -> Damage:
    def damage(store: MemoryStore, kept: KeptStore) -> str:
        found = _named(key, store, kept)
        store._values[found] += b"x"
        return found

    return damage


def _named(key: str, store: MemoryStore, kept: KeptStore) -> str:
    folder, _, which = key.partition("/")
    if which == "latest":
        return key
    if folder in {"audit", "packs"}:
        return f"{folder}/{store.names(folder)[0]}"
    names = kept.manifests if folder == "manifests" else kept.transitions
    return f"{folder}/{names[int(which)]}"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        pytest.param(removed("transitions/latest"), "the head is missing", id="no head"),
        pytest.param(removed("transitions/0"), "is missing", id="no first transition"),
        pytest.param(removed("transitions/1"), "is missing", id="no newest transition"),
        pytest.param(changed("transitions/0"), "was changed", id="first transition"),
        pytest.param(removed("manifests/0"), "is missing, and in no pack", id="no first manifest"),
        pytest.param(removed("manifests/1"), "is missing, and in no pack", id="no newest manifest"),
        pytest.param(changed("manifests/1"), "was changed", id="manifest"),
        pytest.param(changed("packs/0"), "was changed", id="pack"),
        pytest.param(changed("transitions/latest"), "wanted an ecdsa signature", id="head"),
        pytest.param(changed("metadata/0"), "signed by the given key", id="time"),
        pytest.param(changed("audit/0"), "no entries of the audit log", id="audit log"),
    ],
)
def test_what_is_damaged_is_named(
    store: MemoryStore, kept: KeptStore, damage: Damage, said: str
) -> None:
    key = damage(store, kept)

    found = inspect(History(store), kept.transaction_key)

    assert not found.is_whole
    assert [each.message for each in found.problems if each.key == key and said in each.message]
    assert key not in found.needed or key == "transitions/latest"


def test_a_policy_in_no_pack_is_missing(store: MemoryStore, kept: KeptStore) -> None:
    for name in store.names("packs"):
        del store._values[f"packs/{name}"]

    found = inspect(History(store))

    assert [each.key.partition("/")[0] for each in found.problems] == ["policies"] * 2
    assert {each.message for each in found.problems} == {"is missing, and in no pack"}


def test_a_missing_time_is_a_note(store: MemoryStore, kept: KeptStore) -> None:
    del store._values[f"metadata/{kept.transitions[0]}"]

    found = inspect(History(store), kept.transaction_key)

    assert found.is_whole
    assert [each.severity for each in found.problems] == ["note"]


def test_what_nothing_leads_to_is_an_orphan_and_no_damage(
    store: MemoryStore, kept: KeptStore
) -> None:
    other = MemoryStore()
    keep(other)
    store.set_all(
        {key: value for key, value in other._values.items() if key.startswith("manifests/")}
    )
    store.set("policies/x", b"")

    found = inspect(History(store))

    assert found.is_whole
    assert set(found.orphans) == {f"manifests/{name}" for name in other.names("manifests")}
    assert [(each.key, each.severity) for each in found.problems] == [("policies/x", "note")]


def test_an_orphan_whose_content_is_not_its_names_is_damage(
    store: MemoryStore, kept: KeptStore
) -> None:
    store.set("policies/" + "ab" * 32, b"other")

    assert [each.key for each in inspect(History(store)).problems] == ["policies/" + "ab" * 32]


def test_a_first_set_that_broke_off_leaves_orphans_only(store: MemoryStore) -> None:
    keep(store)
    broken = MemoryStore(store._values)
    for key in list(broken._values):
        if key == "transitions/latest" or key.startswith("audit/"):
            del broken._values[key]
    first = next(name for name in store.names("metadata") if name != "unfinished")
    broken._values["metadata/unfinished"] = bytes(32) + bytes.fromhex(first)
    second = next(name for name in broken.names("transitions") if name != first)
    del broken._values[f"transitions/{second}"]

    found = inspect(History(broken))

    assert make_guard(broken).status().name == "initial"
    assert found.is_whole
    assert found.head is None
    assert f"transitions/{first}" in found.orphans


def test_a_head_of_a_first_set_that_has_not_ended_is_in_force_for_nobody(
    store: MemoryStore,
) -> None:
    kept = keep(store)
    newest = bytes.fromhex(kept.transitions[1])
    store._values["metadata/unfinished"] = bytes(32) + newest

    found = inspect(History(store))

    assert (found.head, found.generations) == (None, 0)
    assert [each.severity for each in found.problems] == ["note"]
