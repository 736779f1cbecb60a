import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.manifest.hashes import NO_TRANSITION
from coordinator.history import (
    History,
    HistoryCorrupt,
    LatestTransition,
    Transition,
    sha256,
    sign_latest,
)
from coordinator.store.base import NotFound, StoreConflict
from coordinator.store.file import FileStore
from coordinator.store.memory import MemoryStore

KEY = ec.generate_private_key(ec.SECP384R1())
OTHER_KEY = ec.generate_private_key(ec.SECP384R1())
MOMENT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def history(store: MemoryStore) -> History:
    return History(store)


def test_the_transition_hash_is_the_known_vector() -> None:
    transition = Transition(manifest_hash=sha256(b"hello"), previous=sha256(b"world"))

    wanted = "7305db9b2abccd706c256db3d97e5ff48d677cfe4d3a5904afb7da0e3950e1e2"
    assert transition.digest.hex() == wanted


def test_the_first_and_second_transition_of_an_empty_object_are_the_known_vectors() -> None:
    first = Transition(manifest_hash=sha256(b"{}"), previous=NO_TRANSITION)
    second = Transition(manifest_hash=sha256(b"{}"), previous=first.digest)

    assert first.digest.hex() == "a48bf97e27b31e740c70c45c448a6662348ac17929be75f4575cad36401c8211"
    assert second.digest.hex() == "d64ed2e599f892fe4dab03191df07e1cc9d3fc05ab9f2d1df6cdd1d972c10471"


def test_documents_are_kept_under_their_hash(history: History, store: MemoryStore) -> None:
    history.put("manifests", [b"{}"])
    history.put("policies", [b"package x"])

    assert store.get(f"manifests/{hashlib.sha256(b'{}').hexdigest()}") == b"{}"
    assert history.content("manifests", sha256(b"{}")) == b"{}"
    assert history.content("policies", sha256(b"package x")) == b"package x"


def test_a_missing_document_is_not_found(history: History) -> None:
    with pytest.raises(NotFound):
        history.content("manifests", sha256(b"{}"))
    with pytest.raises(NotFound):
        history.transition(sha256(b"{}"))


def test_a_file_removed_from_disk_is_named(tmp_path: Path) -> None:
    history = History(FileStore(tmp_path))
    history.put("policies", [b"package x"])
    path = tmp_path / "policies" / hashlib.sha256(b"package x").hexdigest()
    path.unlink()

    with pytest.raises(HistoryCorrupt, match=f"policies/{path.name} is missing") as caught:
        history.content("policies", sha256(b"package x"))

    assert str(caught.value.where) == str(path)


@pytest.mark.parametrize("changed", [b"", b"{ }", b"{}\n"])
def test_a_changed_document_is_an_error_with_found_and_wanted(
    history: History, store: MemoryStore, changed: bytes
) -> None:
    history.put("manifests", [b"{}"])
    wanted = sha256(b"{}").hex()

    store.set(f"manifests/{wanted}", changed)

    with pytest.raises(HistoryCorrupt) as caught:
        history.content("manifests", sha256(b"{}"))
    assert f"found content with sha256 {sha256(changed).hex()}, wanted {wanted}" in str(
        caught.value
    )


def test_a_file_changed_on_disk_is_named(tmp_path: Path) -> None:
    history = History(FileStore(tmp_path))
    history.put("manifests", [b"{}"])
    path = tmp_path / "manifests" / sha256(b"{}").hex()

    path.write_bytes(b"{  }")

    with pytest.raises(HistoryCorrupt, match="was changed") as caught:
        history.content("manifests", sha256(b"{}"))
    assert caught.value.where is not None
    assert caught.value.where.file == str(path)


@pytest.mark.parametrize("length", [0, 63, 65])
def test_a_transition_of_another_length_is_corrupt(
    history: History, store: MemoryStore, length: int
) -> None:
    raw = bytes(length)
    store.set(f"transitions/{sha256(raw).hex()}", raw)

    with pytest.raises(HistoryCorrupt, match=f"found {length} bytes, wanted 64"):
        history.transition(sha256(raw))


def test_there_is_no_head_at_first(history: History) -> None:
    assert history.latest_unverified() is None
    assert history.orphans() == set()


@pytest.mark.parametrize("length", [0, 1, 32])
def test_a_short_head_is_corrupt(history: History, store: MemoryStore, length: int) -> None:
    store.set("transitions/latest", bytes(length))

    with pytest.raises(HistoryCorrupt, match=f"found {length} bytes, wanted more than 32"):
        history.latest_unverified()


def test_a_signed_head_verifies_under_its_key_only(history: History) -> None:
    latest = sign_latest(KEY, sha256(b"transition"))

    assert latest.is_signed_by(KEY.public_key())
    assert not latest.is_signed_by(OTHER_KEY.public_key())


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1],
        lambda raw: raw[:32] + bytes([raw[32] ^ 1]) + raw[33:],
    ],
    ids=["longer", "shorter", "no-sequence"],
)
def test_a_head_whose_signature_is_none_is_corrupt_and_named(
    history: History, store: MemoryStore, change: Callable[[bytes], bytes]
) -> None:
    raw = change(sign_latest(KEY, sha256(b"transition")).render())
    store.set("transitions/latest", raw)

    with pytest.raises(HistoryCorrupt) as caught:
        history.latest_unverified()

    assert str(caught.value) == (
        f"history object transitions/latest was changed: found {len(raw) - 32} bytes after the "
        "transition hash, wanted an ecdsa signature in der"
    )


@pytest.mark.parametrize("position", [0, 31, 40])
def test_a_head_with_a_flipped_byte_does_not_verify(history: History, position: int) -> None:
    raw = bytearray(sign_latest(KEY, sha256(b"transition")).render())

    raw[position] ^= 1

    assert not history.parse_latest(bytes(raw)).is_signed_by(KEY.public_key())


def test_the_head_moves_only_from_where_it_stands(history: History) -> None:
    first = sign_latest(KEY, sha256(b"1"))
    second = sign_latest(KEY, sha256(b"2"))
    history.swap_latest(None, first)

    with pytest.raises(StoreConflict):
        history.swap_latest(None, second)
    with pytest.raises(StoreConflict):
        history.swap_latest(second, first)
    history.swap_latest(first, second)

    assert history.latest_unverified() == second


def test_two_signatures_over_the_same_hash_are_different_heads(history: History) -> None:
    history.swap_latest(None, sign_latest(KEY, sha256(b"1")))

    with pytest.raises(StoreConflict):
        history.swap_latest(sign_latest(KEY, sha256(b"1")), sign_latest(KEY, sha256(b"2")))


def test_the_walk_is_newest_first_and_ends_before_the_zeros(history: History) -> None:
    first = Transition(manifest_hash=sha256(b"1"), previous=NO_TRANSITION)
    second = Transition(manifest_hash=sha256(b"2"), previous=first.digest)
    history.put_transition(first)
    history.put_transition(second)

    assert list(history.walk(second.digest)) == [(second.digest, second), (first.digest, first)]
    assert list(history.walk(NO_TRANSITION)) == []


def test_the_walk_over_a_missing_transition_is_an_error(history: History) -> None:
    second = Transition(manifest_hash=sha256(b"2"), previous=sha256(b"gone"))
    history.put_transition(second)

    with pytest.raises(NotFound):
        list(history.walk(second.digest))


def test_transitions_without_a_head_are_orphans(history: History) -> None:
    first = Transition(manifest_hash=sha256(b"1"), previous=NO_TRANSITION)
    history.put_transition(first)
    assert history.orphans() == {first.digest.hex()}

    history.swap_latest(None, LatestTransition(transition_hash=bytes(32), signature=b"x"))

    assert history.orphans() == set()


def test_the_time_of_the_first_transition_is_read_back(history: History) -> None:
    history.put_first_time(KEY, sha256(b"1"), MOMENT)

    assert history.first_time(KEY.public_key()) == MOMENT


def test_a_time_that_was_changed_or_is_missing_is_none(
    history: History, store: MemoryStore
) -> None:
    history.put_first_time(KEY, sha256(b"1"), MOMENT)
    key = f"metadata/{sha256(b'1').hex()}"
    raw = bytearray(store.get(key))
    raw[7] ^= 1
    store.set(key, bytes(raw))

    assert history.first_time(KEY.public_key()) is None
    store.set(f"metadata/{sha256(b'2').hex()}", bytes(raw))
    assert history.first_time(KEY.public_key()) is None
