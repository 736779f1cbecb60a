"""Who loses a part of a budget to whom, as a table of who holds what."""

import math
import threading
from collections.abc import Sequence

import pytest

from coordinator.budget import Budget, Holder


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Told(threading.Condition):
    """Tells how many have begun to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Tell, and wait."""
        self.begun.release()
        return super().wait(timeout)


def make(clock: Clock, **options: float) -> Budget:
    # Nobody waits, unless a test says so.
    given = {"wait_s": 0.0, "patience_s": 5.0, **options}
    return Budget(4, clock=clock, **given)  # type: ignore[arg-type]  # all are numbers


@pytest.mark.parametrize(
    ("held", "newcomer", "ended"),
    [
        pytest.param([], ("a", 40), [], id="one-may-be-larger"),
        pytest.param([("a", 1, 99), ("b", 1, 99)], ("c", 1), [], id="there-is-room"),
        pytest.param(
            [("a", 2, 99), ("a", 1, 98)], ("b", 2), [1], id="who-has-most-loses-the-oldest"
        ),
        pytest.param([("a", 4, 99)], ("a", 1), None, id="own-ones-are-not-ended"),
        pytest.param([("a", 2, 99), ("b", 1, 99)], ("c", 2), None, id="nobody-has-more"),
        pytest.param([("a", 2, 99), ("b", 1, 95)], ("c", 2), [1], id="but-one-was-too-slow"),
        pytest.param(
            [("a", 1, 90), ("a", 1, 91), ("a", 1, 92)], ("a", 2), [0], id="own-slow-ones-are"
        ),
        pytest.param([("a", 2, 99), ("b", 1, 90)], ("c", 40), None, id="more-than-all-needs-all"),
    ],
)
def test_whose_answer_ends(
    held: Sequence[tuple[str, int, float]], newcomer: tuple[str, int], ended: list[int] | None
) -> None:
    clock = Clock()
    budget = make(clock)
    over: list[int] = []
    for index, (address, size, since) in enumerate(held):
        clock.now = since
        assert budget.take(address, size, lambda at=index: over.append(at))
    clock.now = 100.0

    place = budget.take(newcomer[0], newcomer[1], lambda: None)

    assert (place is not None) is (ended is not None)
    assert ended is None or over == ended


def test_what_was_read_makes_room_for_who_waits() -> None:
    budget = Budget(4, patience_s=60, waiting=2)
    first = budget.take("a", 2, lambda: None)
    assert first is not None
    got: list[Holder | None] = []
    waits = threading.Thread(target=lambda: got.append(budget.take("a", 4, lambda: None)))
    waits.start()

    budget.leave(first)
    budget.leave(first)
    waits.join(20)

    assert len(got) == 1
    assert got[0] is not None


def test_few_wait_and_of_one_address_fewer() -> None:
    budget = Budget(4, waiting=2, patience_s=60, wait_s=60)
    first = budget.take("a", 4, lambda: None)
    assert first is not None
    budget._freed = told = Told()
    waits = threading.Thread(target=lambda: budget.take("a", 4, lambda: None))
    waits.start()
    assert told.begun.acquire(timeout=20)

    assert budget.take("a", 4, lambda: None) is None

    budget.leave(first)
    waits.join(20)


def test_without_end_to_patience_nothing_is_ended() -> None:
    clock = Clock()
    budget = make(clock, patience_s=math.inf)
    assert budget.take("a", 3, pytest.fail)
    assert budget.take("a", 1, pytest.fail)
    clock.now += 1000

    assert budget.take("b", 1, lambda: None) is None


def test_one_connection_has_so_many_calls_and_no_more() -> None:
    budget = make(Clock(), calls=2)
    first, second, third, other = (
        budget.take("a", 1, lambda: None, connection=name) for name in "xxxy"
    )

    assert first is not None
    assert second is not None
    assert third is None
    assert other is not None
    budget.leave(first)
    assert budget.take("a", 1, lambda: None, connection="x") is not None


def test_many_calls_are_not_taken_for_those_of_one_connection() -> None:
    """A thousand small answers that nobody reads would else keep everybody out."""
    budget = Budget(10_000, patience_s=60, wait_s=0)
    assert all(budget.take("a", 1, lambda: None) for _ in range(2000))

    assert budget.take("b", 1, lambda: None) is not None


def test_who_was_served_longest_ago_is_next() -> None:
    budget = Budget(4, patience_s=60, wait_s=60, waiting=8)
    first = budget.take("a", 4, lambda: None)
    assert first is not None
    served: list[str] = []
    budget._freed = told = Told()

    def ask(address: str) -> None:
        holder = budget.take(address, 4, lambda: None)
        served.append(address)
        assert holder is not None
        budget.leave(holder)

    threads = [threading.Thread(target=ask, args=(each,)) for each in ("a", "a", "b")]
    for thread in threads:
        thread.start()
        assert told.begun.acquire(timeout=20)

    budget.leave(first)
    for thread in threads:
        thread.join(20)

    assert served == ["b", "a", "a"]


def test_who_was_served_lately_gives_way_in_a_full_line_to_who_was_not() -> None:
    """Two addresses once kept everybody else out: they filled the line, and took turns."""
    budget = Budget(4, patience_s=60, wait_s=60, waiting=2)
    held = [budget.take(each, 2, lambda: None) for each in ("a", "b")]
    budget._freed = told = Told()
    served: dict[str, Holder | None] = {}

    def ask(address: str) -> None:
        served[address] = budget.take(address, 2, lambda: None)

    threads = {each: threading.Thread(target=ask, args=(each,)) for each in ("a", "b", "c")}
    for thread in threads.values():
        thread.start()
        assert told.begun.acquire(timeout=20)

    threads["b"].join(20)
    assert served == {"b": None}
    for holder in held:
        assert holder is not None
        budget.leave(holder)
    for thread in threads.values():
        thread.join(20)

    assert served["c"] is not None
    assert served["a"] is not None


def test_a_call_waits_briefly_for_others_of_its_connection_and_keeps_no_other_connection_out() -> (
    None
):
    """Eight calls at once on one connection, whose requests were all there, were once refused."""
    budget = make(Clock(), calls=1, wait_s=60, waiting=8)
    first = budget.take("a", 1, lambda: None, connection="x")
    assert first is not None
    budget._freed = told = Told()
    got: list[Holder | None] = []

    def ask() -> None:
        got.append(budget.take("a", 1, lambda: None, connection="x"))

    waits = threading.Thread(target=ask)
    waits.start()
    assert told.begun.acquire(timeout=20)

    assert budget.take("b", 1, lambda: None, connection="y") is not None
    assert got == []
    budget.leave(first)
    waits.join(20)

    assert len(got) == 1
    assert got[0] is not None
