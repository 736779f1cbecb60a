import logging
import threading

import pytest

from coordinator.history import HistoryCorrupt, sign_latest
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, State
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from coordinator.watch import Observation, observe, watch
from tests.fakes.coordinator import POLICY, make_guard, parse_tiny, tiny_manifest

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
STRANGER = SeedEngine(bytes(64), bytes(32))
MANIFEST = tiny_manifest(owners=["00" * 32])


def update(guard: Guard, old: State | None) -> State:
    return guard.update(
        old,
        engine=ENGINE,
        manifest=parse_tiny(MANIFEST),
        manifest_bytes=MANIFEST,
        policies=[POLICY],
    )


@pytest.fixture
def state(guard: Guard) -> State:
    return update(guard, update(guard, None))


def test_without_a_state_nothing_is_done(store: MemoryStore) -> None:
    store.set("transitions/latest", sign_latest(ENGINE.transaction_key, bytes(32)).render())

    assert observe(make_guard(store)) is Observation.QUIET


def test_a_malformed_head_without_a_state_is_an_error(store: MemoryStore) -> None:
    store.set("transitions/latest", bytes(100))

    with pytest.raises(HistoryCorrupt, match="found 68 bytes after the transition hash"):
        observe(make_guard(store))


def test_our_own_head_is_quiet(guard: Guard, state: State) -> None:
    assert observe(guard) is Observation.QUIET
    assert guard.is_current(state)


def test_a_head_of_another_coordinator_makes_the_state_stale(
    guard: Guard, state: State, store: MemoryStore
) -> None:
    other = make_guard(store)
    update(other, other.reset(None, lambda _manifest: ENGINE))

    assert observe(guard) is Observation.STALE

    assert state.is_stale
    assert guard.status().name == "stale"
    assert observe(guard) is Observation.QUIET


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"short", id="short"),
        pytest.param(bytes(100), id="unsigned"),
        pytest.param(
            sign_latest(STRANGER.transaction_key, bytes(32)).render(), id="signed-by-a-stranger"
        ),
    ],
)
def test_a_forged_head_does_not_stop_the_service(
    guard: Guard, state: State, store: MemoryStore, raw: bytes
) -> None:
    store.set("transitions/latest", raw)

    assert observe(guard) is Observation.FORGED

    assert guard.current() is state


def test_a_rollback_to_an_older_signed_head_is_undone(
    guard: Guard, state: State, store: MemoryStore
) -> None:
    chain = [digest for digest, _ in guard.history.walk(state.latest.transition_hash)]
    store.set("transitions/latest", sign_latest(ENGINE.transaction_key, chain[1]).render())

    assert observe(guard) is Observation.ROLLBACK

    assert guard.current() is state
    assert store.get("transitions/latest") == state.latest.render()


def test_a_deleted_head_is_written_back(guard: Guard, state: State, store: MemoryStore) -> None:
    del store._values["transitions/latest"]

    assert observe(guard) is Observation.REPAIRED

    assert store.get("transitions/latest") == state.latest.render()


def test_trouble_is_logged_once_and_the_watch_goes_on(
    guard: Guard, state: State, caplog: pytest.LogCaptureFixture
) -> None:
    class Ticks(threading.Event):
        """Ends the watch after some looks, without waiting."""

        def __init__(self, looks: int) -> None:
            super().__init__()
            self.looks = looks

        def wait(self, timeout: float | None = None) -> bool:
            self.looks -= 1
            return self.looks < 0

    class Unreadable(MemoryStore):
        def get(self, key: str) -> bytes:
            raise StoreError("cannot read it")

    guard.history.store = Unreadable()
    with caplog.at_level(logging.ERROR):
        watch(guard, Ticks(3))

    assert [record.getMessage() for record in caplog.records] == [
        "History watch: history cannot be watched: cannot read it"
    ]
