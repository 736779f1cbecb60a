"""One contract for every store, and what only the file store can suffer."""

import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from coordinator.kubernetes.configmaps import ConfigMapStore
from coordinator.kubernetes.kubectl import KubectlStore
from coordinator.store.base import InvalidKey, NotFound, Store, StoreConflict, StoreError
from coordinator.store.file import FileStore
from coordinator.store.measured import MeasuredStore
from coordinator.store.memory import MemoryStore
from tests.fakes.kube.coordinator import NAMESPACE, coordinator_api, make_coordinator
from tests.fakes.kube.servers import SERVERS, opened

_BY_KUBECTL = "kubectl-"
_KUBECTL = [
    pytest.param(
        f"{_BY_KUBECTL}{which}",
        marks=[
            pytest.mark.e2e,
            pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed"),
        ],
    )
    for which in SERVERS
]


@pytest.fixture(params=["memory", "measured", "file", *SERVERS, *_KUBECTL])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Give an empty store: those of this machine, and ConfigMaps of each API server.

    These are reached with the rights of coordinator.yml, and by kubectl, as whoever keeps the store reaches them.
    """
    which: str = request.param
    if which.startswith(_BY_KUBECTL):
        with opened(which.removeprefix(_BY_KUBECTL), request) as server:
            make_coordinator(server.cluster)
            config = server.write_kubeconfig(tmp_path / "kubeconfig", namespace=NAMESPACE)
            yield KubectlStore([f"--kubeconfig={config}"])
        return
    match which:
        case "memory":
            yield MemoryStore()
        case "measured":
            yield MeasuredStore(MemoryStore(), lambda *_told: None)
        case "file":
            yield FileStore(tmp_path / "state")
        case _:
            with opened(which, request) as server:
                make_coordinator(server.cluster)
                with closing(coordinator_api(server, tmp_path / "account")) as api:
                    yield ConfigMapStore(api)


def test_a_missing_value_is_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="foo/bar"):
        store.get("foo/bar")


def test_a_value_is_returned_and_replaced(store: Store) -> None:
    store.set("foo/bar", b"v1")
    assert store.get("foo/bar") == b"v1"

    store.set("foo/bar", b"v2")

    assert store.get("foo/bar") == b"v2"


def test_a_value_of_any_bytes_may_be_as_large_as_an_object(store: Store) -> None:
    value = random.Random(1).randbytes(1024 * 1024 - 1)

    store.set("packs/one", value)

    assert store.get("packs/one") == value


@pytest.mark.first(1)
def test_many_values_are_stored_at_once(store: Store) -> None:
    store.set("foo/old", b"old")

    store.set_all({"foo/old": b"new", **{f"bar/{number}": b"%d" % number for number in range(99)}})

    assert store.get("foo/old") == b"new"
    assert [store.get(f"bar/{number}") for number in range(99)] == [
        b"%d" % number for number in range(99)
    ]


def test_of_many_values_one_with_a_malformed_key_stores_none(store: Store) -> None:
    with pytest.raises(InvalidKey):
        store.set_all({"foo/bar": b"v1", "../etc": b"v2"})

    assert store.names("foo") == []


def test_swap_from_nothing_creates_the_value(store: Store) -> None:
    store.compare_and_swap("foo/bar", b"", b"v1")

    assert store.get("foo/bar") == b"v1"


def test_swap_with_the_wrong_old_value_changes_nothing(store: Store) -> None:
    store.set("foo/bar", b"v1")

    with pytest.raises(StoreConflict):
        store.compare_and_swap("foo/bar", b"v0", b"v2")

    assert store.get("foo/bar") == b"v1"


def test_swap_on_a_missing_value_needs_an_empty_old_one(store: Store) -> None:
    with pytest.raises(StoreConflict):
        store.compare_and_swap("foo/bar", b"v0", b"v1")

    with pytest.raises(NotFound):
        store.get("foo/bar")


MALFORMED = ["invalid-key", "a/b/c", "***/***", "a/", "/b", "../etc", "a/..", "ä/b"]


def test_malformed_keys_are_refused(store: Store) -> None:
    # One test for all of them, since some stores take long to be made.
    for key in (*MALFORMED, "", "a/b\n"):
        with pytest.raises(InvalidKey):
            store.get(key)
        with pytest.raises(InvalidKey):
            store.set(key, b"")
        with pytest.raises(InvalidKey):
            store.compare_and_swap(key, b"", b"")


def test_names_lists_one_folder_sorted(store: Store) -> None:
    store.set("foo/b", b"")
    store.set("foo/a", b"")
    store.set("other/c", b"")

    assert store.names("foo") == ["a", "b"]
    assert store.names("empty") == []
    with pytest.raises(InvalidKey):
        store.names("../foo")


def test_of_many_threads_that_swap_at_once_exactly_one_wins(store: Store) -> None:
    barrier = threading.Barrier(8)
    outcomes: list[str] = []

    def swap(number: int) -> None:
        barrier.wait()
        try:
            store.compare_and_swap("foo/bar", b"", f"v{number}".encode())
            outcomes.append(f"v{number}")
        except StoreConflict:
            outcomes.append("lost")

    threads = [threading.Thread(target=swap, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    winners = [outcome for outcome in outcomes if outcome != "lost"]
    assert len(outcomes) == 8
    assert [store.get("foo/bar").decode()] == winners


def test_the_file_layout_is_the_key_layout(tmp_path: Path) -> None:
    FileStore(tmp_path).set("transitions/latest", b"head")

    assert (tmp_path / "transitions" / "latest").read_bytes() == b"head"
    assert (tmp_path / "transitions" / "latest").stat().st_mode & 0o777 == 0o644


def test_another_store_object_on_the_same_directory_sees_the_swap(tmp_path: Path) -> None:
    FileStore(tmp_path).compare_and_swap("foo/bar", b"", b"v1")

    with pytest.raises(StoreConflict):
        FileStore(tmp_path).compare_and_swap("foo/bar", b"", b"v2")


def test_a_half_written_temporary_file_is_not_a_key(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.set("foo/bar", b"v1")

    (tmp_path / "foo" / ".bar.x1y2").write_bytes(b"ha")

    assert store.names("foo") == ["bar"]


@pytest.mark.parametrize("step", ["replace", "fsync"])
def test_a_crash_in_the_middle_of_a_write_leaves_the_old_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = FileStore(tmp_path)
    store.set("transitions/latest", b"old")

    def crash(*_arguments: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(f"os.{step}", crash)
        with pytest.raises(StoreError, match=r"cannot write .*latest: Input/output error"):
            store.compare_and_swap("transitions/latest", b"old", b"new")

    assert store.get("transitions/latest") == b"old"
    assert store.names("transitions") == ["latest"]
    store.compare_and_swap("transitions/latest", b"old", b"new")


def test_a_first_value_is_durable_with_every_directory_it_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)

    FileStore(tmp_path / "a" / "state").set("policies/one", b"1")

    folders = [path for path in synced if Path(path).is_dir()]
    state = tmp_path / "a" / "state"
    assert folders == [str(path) for path in (tmp_path, tmp_path / "a", state, state / "policies")]


def test_a_value_larger_than_any_object_is_not_read_whole(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.set("foo/bar", b"v1")
    with (tmp_path / "foo" / "bar").open("r+b") as file:
        file.truncate(1 << 40)

    with pytest.raises(StoreError, match="has more than 1048575 bytes"):
        store.get("foo/bar")


def test_a_held_lock_ends_the_swap_with_an_error_that_names_it(tmp_path: Path) -> None:
    waiting = FileStore(tmp_path, timeout_s=0.0)

    with FileStore(tmp_path)._exclusive(), pytest.raises(StoreError, match=r"\.lock is held"):
        waiting.compare_and_swap("foo/bar", b"", b"v1")

    waiting.compare_and_swap("foo/bar", b"", b"v1")


def test_a_directory_in_place_of_a_value_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "foo" / "bar").mkdir(parents=True)

    with pytest.raises(StoreError, match="foo/bar") as caught:
        FileStore(tmp_path).get("foo/bar")

    assert not isinstance(caught.value, NotFound)


def test_a_state_path_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")

    with pytest.raises(StoreError, match="cannot lock"):
        FileStore(tmp_path / "state").compare_and_swap("foo/bar", b"", b"v1")
