"""Whoever can write to the store, over every kind of store: what a running Coordinator does, and one that starts.

The rows are those of docs/internals/coordinator.md 8.5.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from coordinator.history import sign_latest
from coordinator.kubernetes.configmaps import ConfigMapStore, name_of
from coordinator.seedengine import SeedEngine
from coordinator.state import ConcurrentUpdate, Guard, Keys, RolledBack
from coordinator.store.base import Store, StoreConflict
from coordinator.store.file import FileStore
from coordinator.store.memory import MemoryStore
from coordinator.unavailable import HistoryInconsistent
from coordinator.watch import Observation, mend, observe
from tests.fakes.coordinator import make_guard
from tests.fakes.kept_store import KeptStore, keep
from tests.fakes.kube.cluster import Key
from tests.fakes.kube.coordinator import CONFIG_MAPS, NAMESPACE, coordinator_api, make_coordinator
from tests.fakes.kube.server import KubeServer

HEAD = "transitions/latest"
FOLDERS = ("audit", "manifests", "metadata", "packs", "transitions")


@dataclass(frozen=True)
class Attacked:
    """A store, the Coordinator that has set two manifests on it, and a way to remove objects."""

    store: Store
    kept: KeptStore
    remove: Callable[[str], object]

    @property
    def guard(self) -> Guard:
        return self.kept.guard

    def restarted(self) -> Guard:
        """Return a Coordinator that has just started on this store."""
        return make_guard(self.store)

    def recover(self, *, known: bytes = b"") -> Guard:
        """Return a restarted Coordinator that got its seed back."""
        after = self.restarted()
        engine = self.guard.current().engine
        after.reset(after.unrecovered(), lambda _: Keys(engine), known=known)
        return after


@pytest.fixture(params=["memory", "file", pytest.param("configmaps", marks=pytest.mark.sweep)])
def attacked(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attacked]:
    if request.param == "memory":
        memory = MemoryStore()
        yield Attacked(memory, keep(memory), memory._values.pop)
    elif request.param == "file":
        file = FileStore(tmp_path / "state")
        yield Attacked(file, keep(file), lambda key: (tmp_path / "state" / key).unlink())
    else:
        with KubeServer() as server:
            make_coordinator(server.cluster)
            with closing(coordinator_api(server, tmp_path / "account")) as api:
                maps = ConfigMapStore(api)
                yield Attacked(
                    maps,
                    keep(maps),
                    lambda key: server.cluster.delete(Key(CONFIG_MAPS, NAMESPACE, name_of(key))),
                )


def test_a_changed_or_removed_object_is_written_back_by_who_has_it(attacked: Attacked) -> None:
    kept, store = attacked.kept, attacked.store
    pack = f"packs/{store.names('packs')[0]}"
    newest, older = (f"manifests/{name}" for name in reversed(kept.manifests))
    before = {key: store.get(key) for key in (newest, older, pack)}
    store.set(newest, b"changed")
    attacked.remove(older)
    attacked.remove(pack)
    attacked.remove(f"transitions/{kept.transitions[0]}")

    mend(attacked.guard)

    assert {key: store.get(key) for key in before} == before
    assert attacked.recover().current().documents.is_whole


def test_a_changed_object_is_not_believed_by_who_starts(attacked: Attacked) -> None:
    attacked.store.set(f"manifests/{attacked.kept.manifests[0]}", b"{}")

    after = attacked.recover().current()

    assert [each.is_lost for each in after.documents.generations] == [True, False]
    assert after.manifest_bytes == attacked.guard.current().manifest_bytes


@pytest.mark.parametrize("is_signed", [False, True])
def test_a_forged_head_is_written_over(attacked: Attacked, *, is_signed: bool) -> None:
    state = attacked.guard.current()
    stranger = SeedEngine(bytes(64), bytes(32)).transaction_key
    forged = sign_latest(stranger, bytes(32)).render() if is_signed else b"forged"
    attacked.store.set(HEAD, forged)

    assert observe(attacked.guard) is Observation.FORGED

    assert attacked.store.get(HEAD) == state.latest.render()
    assert attacked.guard.is_current(state)


def test_an_older_head_is_written_over_and_found_by_who_has_seen_the_newer(
    attacked: Attacked,
) -> None:
    newer = attacked.store.get(HEAD)
    seen = attacked.guard.current().latest.transition_hash
    older = sign_latest(
        attacked.guard.current().engine.transaction_key,
        bytes.fromhex(attacked.kept.transitions[0]),
    ).render()
    attacked.store.set(HEAD, older)

    with pytest.raises(RolledBack):
        attacked.recover(known=seen)
    assert observe(attacked.guard) is Observation.ROLLBACK

    assert attacked.store.get(HEAD) == newer
    assert attacked.recover(known=seen).current().generation == 2


def test_a_removed_head_is_written_back_and_starts_nothing_anew(attacked: Attacked) -> None:
    attacked.remove(HEAD)

    with pytest.raises(HistoryInconsistent):
        attacked.restarted().current()
    assert make_guard(attacked.store, force_new=True).status().name == "initial"
    assert observe(attacked.guard) is Observation.REPAIRED

    assert attacked.restarted().status().name == "recovery"


def test_when_everything_is_removed_the_running_one_writes_it_back(attacked: Attacked) -> None:
    for folder in FOLDERS:
        for name in attacked.store.names(folder):
            attacked.remove(f"{folder}/{name}")

    assert attacked.restarted().status().name == "initial"
    assert observe(attacked.guard) is Observation.REPAIRED

    after = attacked.recover().current()
    assert after.documents.is_whole
    assert after.ca.root_ca_pem.startswith(b"-----BEGIN CERTIFICATE-----")


def test_of_two_that_go_on_from_the_same_head_one_wins(attacked: Attacked) -> None:
    other = attacked.recover()
    attacked.kept.set_again()

    with pytest.raises((StoreConflict, ConcurrentUpdate)):
        KeptStore(other, attacked.kept.owner, (), ()).set_again()

    assert observe(other) is Observation.STALE
    assert attacked.store.get(HEAD) == attacked.guard.current().latest.render()
