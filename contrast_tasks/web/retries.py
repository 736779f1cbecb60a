"""Repeating a failed request, after growing pauses or the pause that the service asks for."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class Passing(Exception):
    """A failure that may be temporary; the text says what it is.

    asked_s: the pause in seconds that the service asks for, 0 for none.
    """

    def __init__(self, message: str, *, asked_s: float = 0.0) -> None:
        super().__init__(message)
        self.asked_s = asked_s


class GaveUp(Exception):
    """Every attempt failed, or the next one would be too late; the text is that of the last failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often, for how long and at what intervals a request is repeated.

    attempts: the maximum in all. budget_s: no pause ends later than this after the first attempt. first_pause_s: doubles
    up to longest_pause_s. longest_asked_s: upper limit for the pause that a service asks for.
    sleep: waits some seconds. monotonic: a clock in seconds.
    """

    sleep: Callable[[float], None]
    monotonic: Callable[[], float]
    attempts: float = math.inf
    budget_s: float = math.inf
    first_pause_s: float
    longest_pause_s: float
    longest_asked_s: float = math.inf

    def run(self, attempt: Callable[[], T], *, tell: Callable[[Passing], None]) -> T:
        """Call `attempt` until it no longer raises Passing, and return its result.

        tell: receives the first failure if there is a second attempt. Raises GaveUp from the last failure.
        """
        deadline_s = self.monotonic() + self.budget_s
        pause_s = self.first_pause_s
        for count in itertools.count(1):
            try:
                return attempt()
            except Passing as failure:
                wait_s = max(pause_s, min(failure.asked_s, self.longest_asked_s))
                if count >= self.attempts or self.monotonic() + wait_s > deadline_s:
                    raise GaveUp(str(failure)) from failure
                if count == 1:
                    tell(failure)
            self.sleep(wait_s)
            pause_s = min(2 * pause_s, self.longest_pause_s)
        raise AssertionError("counting has no end")
