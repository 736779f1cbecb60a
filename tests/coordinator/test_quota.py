"""Places for large answers: few at a time, who waits for them, and who loses one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from coordinator.quota import Turn, Turns


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def must(turn: Turn | None) -> Turn:
    assert turn is not None
    return turn


def not_ended() -> None:
    raise AssertionError("an answer was ended")


def ended(by: list[str], name: str) -> Callable[[], None]:
    return lambda: by.append(name)


def test_there_is_no_more_room_than_places_until_one_is_given_back(clock: Clock) -> None:
    turns = Turns(places=2, wait_s=0, clock=clock)
    first = must(turns.take("a", not_ended))
    must(turns.take("b", not_ended))
    assert turns.take("c", not_ended) is None

    turns.give_back(first)

    assert turns.take("c", not_ended) is not None
    assert turns.take("d", not_ended) is None


def test_an_answer_that_is_not_taken_in_time_loses_its_place(clock: Clock) -> None:
    turns = Turns(places=2, wait_s=0, sending_s=5, clock=clock)
    lost: list[str] = []
    slow = must(turns.take("a", ended(lost, "a")))
    clock.now = 4
    must(turns.take("b", ended(lost, "b")))
    assert turns.take("c", not_ended) is None

    clock.now = 5

    assert turns.take("c", not_ended) is not None
    assert lost == ["a"]
    # That of the ended one no longer counts.
    turns.give_back(slow)
    assert turns.take("d", not_ended) is None


def test_nobody_waits_when_as_many_as_may_do(clock: Clock) -> None:
    assert Turns(waiting=0, clock=clock).take("a", not_ended) is None


def test_who_waits_gets_the_place_that_is_given_back() -> None:
    turns = Turns(places=1, wait_s=30)
    first = must(turns.take("a", not_ended))
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(turns.take, "b", not_ended)

        turns.give_back(first)

        assert second.result(30) is not None
