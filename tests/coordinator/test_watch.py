import logging
import threading

import pytest

from coordinator.history import HistoryCorrupt, sign_latest
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, Keys, State
from coordinator.store.base import StoreError
from coordinator.store.memory import MemoryStore
from coordinator.watch import Observation, observe, watch
from tests.fakes.coordinator import ENGINE, make_guard, put_tiny, tiny_manifest

STRANGER = SeedEngine(bytes(64), bytes(32))
MANIFEST = tiny_manifest(owners=["00" * 32])


def update(guard: Guard, old: State | None) -> State:
    return put_tiny(guard, old, MANIFEST)


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
    update(other, other.reset(None, lambda _: Keys(ENGINE)))

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
def test_fault_17_4_a_forged_head_does_not_stop_the_service(
    guard: Guard, state: State, store: MemoryStore, raw: bytes
) -> None:
    store.set("transitions/latest", raw)

    assert observe(guard) is Observation.FORGED

    assert guard.current() is state
    assert store.get("transitions/latest") == state.latest.render()
    assert update(guard, state).generation == 3


def test_fault_17_4_a_rollback_to_an_older_signed_head_is_undone(
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


def test_what_the_head_leads_to_is_written_back_with_it(
    guard: Guard, state: State, store: MemoryStore
) -> None:
    store._values.clear()

    assert observe(guard) is Observation.REPAIRED

    newest = guard.history.transition(state.latest.transition_hash)
    assert guard.history.content("manifests", newest.manifest_hash) == state.manifest_bytes


def test_an_update_of_our_own_between_store_and_memory_is_no_other_coordinator(
    guard: Guard, state: State, store: MemoryStore
) -> None:
    class Watched(MemoryStore):
        """Lets somebody look while the head is in the store and its state is not yet in memory."""

        seen: Observation | None = None

        def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
            super().compare_and_swap(key, old, new)
            looking.start()
            looking.join(0.05)

    def look() -> None:
        watched.seen = observe(guard)

    watched = Watched()
    watched._values = store._values
    guard.history.store = watched
    looking = threading.Thread(target=look)

    fresh = update(guard, state)
    looking.join()

    assert watched.seen is Observation.QUIET
    assert not state.is_stale
    assert guard.current() is fresh


class Ticks(threading.Event):
    """Ends the watch after some looks, without waiting."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.looks = looks

    def wait(self, timeout: float | None = None) -> bool:
        self.looks -= 1
        return self.looks < 0


def test_what_was_removed_is_written_back_after_ten_minutes(
    guard: Guard,
    state: State,
    store: MemoryStore,
    caplog: pytest.LogCaptureFixture,
) -> None:
    key = f"transitions/{state.transition.previous.hex()}"
    del store._values[key]
    seconds = iter([0.0, 300.0, 599.0, 600.0, 600.0, 900.0])
    there: list[bool] = []

    def clock() -> float:
        there.append(key in store._values)
        return next(seconds)

    watch(guard, Ticks(4), clock=clock)

    # Begun, three looks, the time of the third, and a fourth.
    assert there == [False, False, False, False, False, True]
    assert [each.getMessage() for each in caplog.records] == [
        "Objects of the history were removed or changed from outside and are written back"
    ]


class Failing(MemoryStore):
    """A store whose every read raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def get(self, key: str) -> bytes:
        raise self.error


@pytest.mark.parametrize(
    ("error", "lines"),
    [
        pytest.param(
            StoreError("cannot read it"),
            ["History watch: history cannot be watched: cannot read it"],
            id="store",
        ),
        pytest.param(
            ArithmeticError("secret"),
            ["History watch failed", "History watch: history cannot be watched: ArithmeticError"],
            id="unforeseen",
        ),
    ],
)
def test_trouble_is_logged_once_and_the_watch_goes_on(
    guard: Guard,
    state: State,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    lines: list[str],
) -> None:
    guard.history.store = Failing(error)
    ticks = Ticks(3)

    with caplog.at_level(logging.ERROR):
        watch(guard, ticks)

    assert ticks.looks == -1
    assert [record.getMessage() for record in caplog.records] == lines
