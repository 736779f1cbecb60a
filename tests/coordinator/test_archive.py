"""Archives of stores: the same bytes for the same history, and nothing written that was not checked."""

import io
import tarfile
from collections.abc import Callable

import pytest

from contrast_tasks.errors import ContrastError
from coordinator.archive import (
    BadArchive,
    NotEmpty,
    inspect_archive,
    read_archive,
    render_archive,
    restore,
)
from coordinator.fsck import inspect
from coordinator.history import History
from coordinator.state import Keys
from coordinator.store.base import StoreConflict, StoreError
from coordinator.store.memory import MemoryStore
from tests.fakes.coordinator import BreakingStore, make_guard
from tests.fakes.kept_store import KeptStore, keep


@pytest.fixture
def kept(store: MemoryStore) -> KeptStore:
    return keep(store)


def exported(store: MemoryStore) -> dict[str, bytes]:
    return {key: store.get(key) for key in inspect(History(store)).needed}


def test_an_archive_gives_the_objects_back_in_their_order(
    store: MemoryStore, kept: KeptStore
) -> None:
    objects = exported(store)

    again = read_archive(render_archive(objects))

    assert again == objects
    assert list(again)[-1] == "transitions/latest"


def test_the_same_history_gives_the_same_bytes(store: MemoryStore, kept: KeptStore) -> None:
    moved = MemoryStore()
    restore(exported(store), moved)
    moved.set("policies/" + "ab" * 32, b"an orphan")

    assert render_archive(exported(moved)) == render_archive(exported(store))


def test_an_archive_holds_no_secret(store: MemoryStore, kept: KeptStore) -> None:
    state = kept.guard.current()
    archive = render_archive(exported(store))

    for secret in (state.engine.seed, state.engine.pod_state_seed, state.engine.salt):
        assert secret not in archive
    for key in (state.engine.root_ca_key, state.engine.transaction_key):
        assert key.private_numbers().private_value.to_bytes(48) not in archive
    assert state.ca.mesh_key_pem() not in archive


def test_a_moved_store_is_recovered_and_goes_on(store: MemoryStore, kept: KeptStore) -> None:
    engine = kept.guard.current().engine
    moved = MemoryStore()

    count = restore(exported(store), moved)
    guard = make_guard(moved)
    after = guard.reset(guard.unrecovered(), lambda _: Keys(engine))

    assert count == len(exported(store))
    assert after.manifest_bytes == kept.guard.current().manifest_bytes
    assert after.ca.root_ca_pem == kept.guard.current().ca.root_ca_pem
    assert after.documents.is_whole


def test_an_import_that_broke_off_is_completed(store: MemoryStore, kept: KeptStore) -> None:
    objects = exported(store)
    for step in range(1, len(objects) + 1):
        target = BreakingStore()
        target.fail_at = step
        with pytest.raises(StoreError, match="no space left"):
            restore(objects, target)
        assert History(target).latest_unverified() is None

        target.fail_at = None
        restore(objects, target)

        assert exported(target) == objects


def _older(store: MemoryStore, kept: KeptStore) -> MemoryStore:
    target = MemoryStore(store._values)
    kept.set_again()
    return target


def _newer(store: MemoryStore, kept: KeptStore) -> MemoryStore:
    before = dict(store._values)
    kept.set_again()
    target = MemoryStore(store._values)
    store._values = before
    return target


def _foreign(_store: MemoryStore, _kept: KeptStore) -> MemoryStore:
    target = MemoryStore()
    keep(target)
    return target


@pytest.mark.parametrize(
    ("make_target", "said"),
    [
        pytest.param(_older, "an earlier state of this history", id="earlier"),
        pytest.param(_newer, "a later state of this history", id="later"),
        pytest.param(_foreign, "another history", id="another"),
    ],
)
def test_a_store_with_something_else_is_left_alone_unless_it_is_to_be_replaced(
    store: MemoryStore,
    kept: KeptStore,
    make_target: Callable[[MemoryStore, KeptStore], MemoryStore],
    said: str,
) -> None:
    target = make_target(store, kept)
    objects, before = exported(store), dict(target._values)

    with pytest.raises(NotEmpty, match=said):
        restore(objects, target)
    assert target._values == before

    restore(objects, target, is_replacing=True)

    assert target.get("transitions/latest") == objects["transitions/latest"]
    assert inspect(History(target)).is_whole


def test_a_damaged_object_is_repaired_by_an_import_that_replaces(
    store: MemoryStore, kept: KeptStore
) -> None:
    objects = exported(store)
    damaged = MemoryStore({**store._values, f"manifests/{kept.manifests[1]}": b"damaged"})

    with pytest.raises(NotEmpty, match=f"among them manifests/{kept.manifests[1]}"):
        restore(objects, damaged)
    restore(objects, damaged, is_replacing=True)

    assert inspect(History(damaged)).is_whole


def test_a_head_that_moves_during_an_import_wins(store: MemoryStore, kept: KeptStore) -> None:
    class Racing(MemoryStore):
        def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
            self._values[key] = b"somebody else's"
            super().compare_and_swap(key, old, new)

    target = Racing()

    with pytest.raises(StoreConflict):
        restore(exported(store), target)

    assert target.get("transitions/latest") == b"somebody else's"


def tar(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "no tar file", id="empty"),
        pytest.param(b"x" * 5000, "no tar file", id="no tar"),
        pytest.param(tar(("policies/a", b"abc"))[:600], "no tar file", id="cut off"),
        pytest.param(tar(("../policies/a", b"")), "no object of a store", id="outside"),
        pytest.param(tar(("/etc/passwd", b"")), "no object of a store", id="absolute"),
        pytest.param(tar(("other/a", b"")), "no object of a store", id="another folder"),
        pytest.param(tar(("policies", b"")), "no object of a store", id="no folder"),
        pytest.param(tar(("policies/a", b""), kind=tarfile.SYMTYPE), "no object", id="link"),
        pytest.param(tar(("policies/a", b"")) * 1, "no manifest", id="no head"),
        pytest.param(tar(("policies/a", b""), ("policies/a", b"")), "there twice", id="twice"),
        pytest.param(tar(("policies/a", bytes(1 << 20))), "more than 1048575 bytes", id="large"),
    ],
)
def test_what_is_no_archive_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(BadArchive, match=said) as caught:
        inspect_archive(read_archive(content))

    assert isinstance(caught.value, ContrastError)
