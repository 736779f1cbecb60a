"""Jobs that nobody waits for: one thread, each job once at a time and not before it is due."""

import itertools
import threading
from collections.abc import Iterator

import pytest

from contrast_tasks.attestation.endorsements.errands import Errands, Job
from contrast_tasks.attestation.endorsements.fetch import EndorsementUnavailable
from contrast_tasks.errors import EvidenceRejected

WAIT_S = 20.0


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def errands(clock: Clock) -> Iterator[Errands]:
    made = Errands(monotonic=clock)
    yield made
    made.stop()


def failing(retry_after_s: float = 0.0) -> Job:
    def job() -> float:
        raise EndorsementUnavailable("no answer", retry_after_s=retry_after_s)

    return job


def done(errands: Errands, job: Job) -> bool:
    """Ask for a job and wait; return whether it was taken."""
    taken = errands.ask("thing", job)
    assert errands.settle(WAIT_S)
    return taken


def test_a_job_runs_in_a_thread_of_its_own(errands: Errands) -> None:
    threads: list[str] = []

    def job() -> float:
        threads.append(threading.current_thread().name)
        return 1.0

    assert done(errands, job)
    assert threads == ["endorsements"]


def test_a_job_is_not_done_again_before_it_is_due(errands: Errands, clock: Clock) -> None:
    assert done(errands, lambda: 60.0)

    clock.now_s = 59.0
    assert not done(errands, lambda: 60.0)
    clock.now_s = 60.0
    assert done(errands, lambda: 60.0)


def test_whoever_asks_does_not_wait_and_asks_once(errands: Errands) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> float:
        begun.set()
        assert go_on.wait(WAIT_S)
        return 1.0

    assert errands.ask("thing", slow)
    assert begun.wait(WAIT_S)
    running = errands.ask("thing", slow)
    other = errands.ask("other", lambda: 1.0)
    waiting = errands.ask("other", lambda: 1.0)
    go_on.set()

    assert (running, other, waiting) == (False, True, False)
    assert errands.settle(WAIT_S)


def test_failures_make_the_pauses_longer_up_to_ten_minutes(errands: Errands, clock: Clock) -> None:
    taken_s = []
    while clock.now_s < 2600.0:
        if done(errands, failing()):
            taken_s.append(clock.now_s)
        clock.now_s += 5.0

    pauses = [after - before for before, after in itertools.pairwise(taken_s)]
    assert pauses == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0, 600.0]


def test_a_success_ends_the_pauses(errands: Errands, clock: Clock) -> None:
    for _ in range(3):
        done(errands, failing())
        clock.now_s += 600.0
    done(errands, lambda: 1.0)
    clock.now_s += 1.0
    done(errands, failing())

    clock.now_s += 5.0
    assert done(errands, failing())


def test_a_pause_that_the_service_asked_for_is_kept(errands: Errands, clock: Clock) -> None:
    done(errands, failing(retry_after_s=3600.0))

    clock.now_s = 3599.0
    assert not done(errands, failing())
    clock.now_s = 3600.0
    assert done(errands, failing())


def test_a_failure_of_one_is_no_failure_of_another(errands: Errands) -> None:
    def refused() -> float:
        raise EvidenceRejected("forged")

    def broken() -> float:
        raise ZeroDivisionError

    assert errands.ask("refused", refused)
    assert errands.ask("broken", broken)
    assert errands.ask("good", lambda: 1.0)
    assert errands.settle(WAIT_S)
    assert done(errands, lambda: 1.0)


def test_more_kinds_than_a_cluster_has_are_not_taken(errands: Errands) -> None:
    taken = [errands.ask(number, lambda: 1.0) for number in range(100)]

    assert taken == [True] * 64 + [False] * 36
    assert errands.settle(WAIT_S)


def test_after_the_end_nothing_is_taken_and_nothing_that_waits_is_done(errands: Errands) -> None:
    begun, go_on, done_too = threading.Event(), threading.Event(), threading.Event()

    def slow() -> float:
        begun.set()
        errands.stopped.wait(WAIT_S)
        go_on.set()
        return 1.0

    def late() -> float:
        done_too.set()
        return 1.0

    errands.ask("slow", slow)
    assert begun.wait(WAIT_S)
    errands.ask("late", late)
    errands.stop()

    assert go_on.is_set()
    assert not done_too.is_set()
    assert not errands.ask("other", late)
