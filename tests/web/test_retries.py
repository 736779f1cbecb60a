from collections.abc import Callable
from typing import Any

import pytest

from contrast_tasks.web.retries import GaveUp, Passing, Retries
from tests.fakes.vendor import Clock


def retries(clock: Clock, **options: Any) -> Retries:
    usual = {"first_pause_s": 1.0, "longest_pause_s": 4.0} | options
    return Retries(sleep=clock.sleep, monotonic=lambda: clock.now_s, **usual)


def failing(*failures: Passing) -> Callable[[], str]:
    waiting = list(failures)

    def attempt() -> str:
        if waiting:
            raise waiting.pop(0)
        return "done"

    return attempt


def test_pauses_grow_to_the_longest() -> None:
    clock, told = Clock(), []

    done = retries(clock).run(failing(*[Passing("no")] * 5), tell=told.append)

    assert done == "done"
    assert clock.slept == [1.0, 2.0, 4.0, 4.0, 4.0]
    assert [str(failure) for failure in told] == ["no"]


def test_a_service_is_left_alone_for_as_long_as_it_asks() -> None:
    clock = Clock()

    retries(clock, longest_asked_s=9.0).run(
        failing(Passing("no", asked_s=7.0), Passing("no", asked_s=100.0)), tell=lambda _: None
    )

    assert clock.slept == [7.0, 9.0]


@pytest.mark.parametrize(
    ("options", "slept"),
    [
        pytest.param({"attempts": 3}, [1.0, 2.0], id="attempts"),
        pytest.param({"attempts": 1}, [], id="one attempt"),
        pytest.param({"budget_s": 3.5}, [1.0, 2.0], id="time"),
    ],
)
def test_what_does_not_pass_is_given_up_with_its_last_failure(
    options: dict[str, Any], slept: list[float]
) -> None:
    clock = Clock()

    with pytest.raises(GaveUp, match="still no"):
        retries(clock, **options).run(failing(*[Passing("still no")] * 9), tell=lambda _: None)

    assert clock.slept == slept


def test_any_other_error_ends_at_once() -> None:
    clock = Clock()

    def attempt() -> None:
        raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        retries(clock).run(attempt, tell=lambda _: None)

    assert clock.slept == []
