"""What the store does to a Coordinator, at every step: afterwards the old manifest is in force or the new one, and nothing is lost."""

import errno
import itertools
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificates as load_certificates

from contrast_tasks.api import meshapi
from coordinator.history import LATEST_KEY
from coordinator.kubernetes.configmaps import ConfigMapStore
from coordinator.peers import PeerRecovery
from coordinator.presence import Alone
from coordinator.state import Keys, State
from coordinator.store.base import Store, StoreConflict, StoreError
from coordinator.store.file import FileStore
from coordinator.store.memory import MemoryStore
from coordinator.unavailable import ConcurrentUpdate, RolledBack
from coordinator.watch import Observation, observe
from tests.fakes.coordinator import Clock, make_guard, new_owner
from tests.fakes.file_faults import stepping
from tests.fakes.killed_sets import (
    ENGINE,
    MANIFESTS,
    found_by,
    found_on,
    guard_on,
    recover,
    set_manifest,
)
from tests.fakes.kube.coordinator import (
    CONFIG_MAPS,
    coordinator_api,
    make_coordinator,
)
from tests.fakes.kube.server import KubeServer, Request
from tests.fakes.kube.status import Failure

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.sweep
def test_whoever_is_killed_at_any_step_of_any_set_restarts_with_the_old_manifest_or_the_new(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fakes.killed_sets", tmp_path],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )

    kills = json.loads(done.stdout)
    found = Counter((name, in_force) for name, _, in_force in kills)
    sets = ("first set", "second set", "third set")
    assert set(found) == {(name, in_force) for name in sets for in_force in ("old", "new")}
    assert len(kills) > 60


@pytest.mark.sweep
@pytest.mark.parametrize("number", [0, 1], ids=["first set", "second set"])
@pytest.mark.parametrize(
    ("code", "lasts"),
    [
        pytest.param(errno.ENOSPC, True, id="full from then on"),
        pytest.param(errno.EROFS, True, id="read-only from then on"),
        pytest.param(errno.EIO, False, id="broken once"),
    ],
)
def test_a_disk_that_refuses_any_step_of_a_set_leaves_the_old_manifest_or_the_new(
    tmp_path: Path, number: int, code: int, lasts: bool
) -> None:
    """Who asked is told, and nothing has to be started anew."""
    for step in itertools.count(1):
        place = tmp_path / str(step)
        guard = guard_on(place)
        old = None if number == 0 else set_manifest(guard, None, 0)
        refused = 0

        def refuse(now: int, step: int = step) -> None:
            nonlocal refused
            if now == step or (lasts and now > step):
                refused += 1
                raise OSError(code, os.strerror(code))

        new = None
        with stepping(place, refuse):
            try:
                new = set_manifest(guard, old, number)
            except StoreError:
                assert guard.status().generation in {number, number + 1}
        if not refused:
            break
        # The next look finds out what is in the store, as the watch does every second.
        observe(guard)
        current = guard.current() if guard.status().generation else None
        assert current in (old, new) or current.generation == number + 1
        assert found_on_copy(place, number) == ("old" if current is old else "new")
        assert (
            set_manifest(guard, current, 1).generation == (current.generation if current else 0) + 1
        )
    assert step > 10


@pytest.mark.sweep
@pytest.mark.parametrize("number", [0, 1], ids=["first set", "second set"])
def test_an_api_server_that_is_gone_from_any_request_on_leaves_the_old_manifest_or_the_new(
    tmp_path: Path, number: int
) -> None:
    """As far as the cluster sees it, the Coordinator is killed before that request."""
    found = list[str]()
    with KubeServer() as server:
        make_coordinator(server.cluster)
        with closing(coordinator_api(server, tmp_path / "account")) as api:
            while found[-1:] != ["done"]:
                guard = make_guard(ConfigMapStore(api))
                old = None if number == 0 else set_manifest(guard, None, 0)
                requests = itertools.count()

                def fail(_request: Request, left: int = len(found), asked: Any = requests) -> None:
                    if next(asked) >= left:
                        raise Failure(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "gone")

                server.fail = fail
                try:
                    set_manifest(guard, old, number)
                    is_told = guard.audit.waiting > 0
                except StoreError:
                    is_told = True
                server.fail = lambda _request: None
                restarted = make_guard(ConfigMapStore(api))
                found.append(found_by(restarted, number) if is_told else "done")
                for key in server.cluster.versions():
                    if key.resource == CONFIG_MAPS:
                        server.cluster.delete(key)
    assert found[-1] == "done"
    assert len(found) >= 10
    # Once it is the new one, it stays so whatever is asked after that.
    assert found[:-1] == sorted(found[:-1], reverse=True)
    assert set(found) == {"old", "new", "done"}


def found_on_copy(place: Path, number: int) -> str:
    copy = place.with_name(f"{place.name}-copy")
    if place.exists():
        subprocess.run(["cp", "-r", place, copy], check=True)
    return found_on(copy, number)


@pytest.fixture(params=["memory", pytest.param("configmaps", marks=pytest.mark.sweep)])
def absent(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Store, threading.Event]]:
    """A store, and what lets it be away while it is set."""
    away = threading.Event()
    if request.param == "memory":
        yield Away(away), away
        return

    def fail(_request: Request) -> None:
        if away.is_set():
            raise Failure(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailable", "try again")

    with KubeServer() as server:
        make_coordinator(server.cluster)
        with closing(coordinator_api(server, tmp_path / "account")) as api:
            store = ConfigMapStore(api)
            server.fail = fail
            yield store, away


class Away(MemoryStore):
    """A store in memory that is away for a while."""

    def __init__(self, away: threading.Event) -> None:
        super().__init__()
        self._away = away

    def _look(self) -> None:
        if self._away.is_set():
            raise StoreError("the store does not answer")

    def get(self, key: str) -> bytes:
        self._look()
        return super().get(key)

    def set(self, key: str, value: bytes) -> None:
        self._look()
        super().set(key, value)

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        self._look()
        super().compare_and_swap(key, old, new)

    def names(self, folder: str) -> list[str]:
        self._look()
        return super().names(folder)


def test_a_store_that_is_away_for_a_minute_loses_no_state_no_audit_entry_and_no_service(
    absent: tuple[Store, threading.Event],
) -> None:
    store, away = absent
    guard = make_guard(store)
    state = set_manifest(guard, None, 0)
    away.set()
    began = guard.now()
    # The clock moves with each look at it.
    while guard.now() - began < timedelta(minutes=1):
        guard.audit.record("set-refused")
        guard.audit.flush()
        with pytest.raises(StoreError):
            observe(guard)
        assert guard.current() is state
    with pytest.raises(StoreError):
        set_manifest(guard, state, 1)
    assert guard.status().name == "final"
    recorded = guard.audit.waiting
    away.clear()

    observe(guard)
    new = set_manifest(guard, state, 1)

    events = [each.members["event"] for each in guard.audit.since(0)]
    assert events == ["set", *["set-refused"] * recorded, "set"]
    assert guard.current() is new
    assert guard.audit.waiting == 0


@pytest.mark.sweep
@pytest.mark.parametrize("history", range(10))
def test_of_two_that_set_at_once_one_wins_each_of_20_times_and_the_other_is_told(
    tmp_path: Path, history: int
) -> None:
    guards = [make_guard(FileStore(tmp_path)) for _ in range(2)]
    set_manifest(guards[0], None, 0)
    states = [guards[0].current(), recover(guards[1])]
    for generation in range(2, 22):
        before = states[0].latest.transition_hash

        results = at_once(
            [partial(set_manifest, guards[each], states[each], 1 + each) for each in (0, 1)]
        )

        (winner,) = [each for each in (0, 1) if isinstance(results[each], State)]
        loser = 1 - winner
        assert isinstance(results[loser], StoreConflict)
        assert observe(guards[loser]) is Observation.STALE
        states[winner] = guards[winner].current()
        states[loser] = recover(guards[loser])
        for state in states:
            assert (state.generation, state.transition.previous) == (generation, before)
            assert state.manifest_bytes == MANIFESTS[1 + winner]
    assert states[0].documents.is_whole


@pytest.mark.sweep
def test_of_two_first_sets_at_once_at_most_one_is_answered_and_it_stays(tmp_path: Path) -> None:
    wins = 0
    for number in range(200):
        guards = [guard_on(tmp_path / str(number)) for _ in range(2)]

        # The same manifest: its first transition is the same too.
        results = at_once([partial(set_manifest, each, None, 0) for each in guards])

        answered = [each for each in (0, 1) if isinstance(results[each], State)]
        assert len(answered) <= 1
        for winner in answered:
            head = guards[winner].history.latest_unverified()
            assert head == guards[winner].current().latest
            assert observe(guards[winner]) is Observation.QUIET
            assert guards[1 - winner].status().name == "recovery"
            wins += 1
        if not answered:
            assert {each.status().name for each in guards} == {"initial"}
    assert wins > 50


def at_once(calls: list[Callable[[], State]]) -> list[State | Exception]:
    """Return what each call returns or raises."""
    barrier = threading.Barrier(len(calls))
    results: dict[int, State | Exception] = {}

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = calls[number]()
        except (StoreConflict, ConcurrentUpdate) as err:
            results[number] = err

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[number] for number in range(len(calls))]


@pytest.mark.parametrize("jump", [timedelta(days=-4000), timedelta(days=-1), timedelta(days=3)])
def test_a_clock_that_jumps_loses_no_audit_entry_and_ends_no_certificate(jump: timedelta) -> None:
    """What is issued while the clock is wrong is good when it is right again, unless that is after its life."""
    store = MemoryStore()
    guard = make_guard(store)
    clock = guard.now
    assert isinstance(clock, Clock)
    first = set_manifest(guard, None, 0)
    guard.audit.count("set-refused", reason="before")
    right, clock.moment = clock.moment, clock.moment + jump

    guard.audit.count("set-refused", reason="after")
    guard.audit.flush()
    second = set_manifest(guard, first, 1)
    restarted = make_guard(store)
    assert isinstance(restarted.now, Clock)
    restarted.now.moment = clock.moment
    third = set_manifest(restarted, recover(restarted), 2)

    assert observe(guard) is Observation.STALE
    assert [each.generation for each in (first, second, third)] == [1, 2, 3]
    for state in (first, second, third):
        assert state.ca.root_ca_pem == first.ca.root_ca_pem
        leaf, _ = load_certificates(
            state.ca.issue(
                public_key_spki=new_owner().spki,
                sans=("web",),
                policy_hash=bytes(32),
                extensions=(),
                now=clock.moment,
            )
        )
        (mesh_ca,), (root,) = map(load_certificates, (state.ca.mesh_ca_pem, state.ca.root_ca_pem))
        for inner, outer in ((leaf, mesh_ca), (mesh_ca, root)):
            assert outer.not_valid_before_utc <= inner.not_valid_before_utc
            assert inner.not_valid_after_utc <= outer.not_valid_after_utc
        is_right_inside = leaf.not_valid_before_utc <= right <= leaf.not_valid_after_utc
        assert is_right_inside or jump > timedelta(0)
    reasons = [each.members.get("reason") for each in guard.audit.since(0)]
    assert "before" in reasons
    assert guard.audit.waiting <= 1


def drop_head(store: MemoryStore, _older: dict[str, bytes]) -> None:
    del store._values[LATEST_KEY]


def drop_all(store: MemoryStore, _older: dict[str, bytes]) -> None:
    store._values.clear()


def old_head(store: MemoryStore, older: dict[str, bytes]) -> None:
    store._values[LATEST_KEY] = older[LATEST_KEY]


def old_store(store: MemoryStore, older: dict[str, bytes]) -> None:
    store._values = dict(older)


def fork(store: MemoryStore, older: dict[str, bytes]) -> None:
    """Let another Coordinator go on from the older state."""
    store._values = dict(older)
    other = make_guard(store)
    set_manifest(other, recover(other), 2)


@pytest.mark.parametrize(
    ("attack", "live", "at_rest"),
    [
        pytest.param(drop_head, Observation.REPAIRED, "inconsistent", id="head deleted"),
        # Only clients can tell: the root CA is another one.
        pytest.param(drop_all, Observation.REPAIRED, "initial", id="all deleted"),
        pytest.param(old_head, Observation.ROLLBACK, "rolled back", id="head rolled back"),
        pytest.param(old_store, Observation.ROLLBACK, "rolled back", id="store rolled back"),
        pytest.param(fork, Observation.STALE, "rolled back", id="forked"),
    ],
)
def test_rollback_fork_and_deletion_are_undone_or_told_live_and_at_rest(
    attack: Callable[[MemoryStore, dict[str, bytes]], None], live: Observation, at_rest: str
) -> None:
    store = MemoryStore()
    guard = make_guard(store)
    state = set_manifest(guard, None, 0)
    older = dict(store._values)
    state = set_manifest(guard, set_manifest(guard, state, 1), 2)
    known = state.latest.transition_hash

    attack(store, older)
    restarted = make_guard(store)
    if at_rest == "rolled back":
        with pytest.raises(RolledBack):
            restarted.reset(restarted.unrecovered(), lambda _: Keys(ENGINE), known=known)
    else:
        assert restarted.status().name == at_rest

    assert observe(guard) is live
    if live is not Observation.STALE:
        assert guard.current() is state
        assert recover(make_guard(store)).manifest_bytes == MANIFESTS[2]
        assert set_manifest(guard, state, 0).generation == 4
        return
    # It takes nothing over that its own manifest is not part of, not from a peer either.
    keys = meshapi.RecoveryKeys(
        seed=ENGINE.seed,
        salt=ENGINE.salt,
        mesh_ca_key_pem=state.ca.mesh_key_pem(),
        manifest=MANIFESTS[2],
        transition_hash=b"",
    )
    guard.presence = Served()
    assert not PeerRecovery(guard, lambda _address, _manifest: keys).attempt()
    assert guard.status().name == "stale"
    assert "rollback" in {json.loads(each)["event"] for each in guard.audit.unwritten()}


class Served(Alone):
    """The presence of one that is not alone."""

    def others(self) -> list[str]:
        return ["127.0.0.1:7777"]
