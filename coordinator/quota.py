"""How much may be asked: how often by each identity, and how many large answers at a time by all."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from contrast_tasks.atls.room import Room


class Quota:
    """A bucket of tokens for each identity; clock: seconds that never go back.

    Identities are those of accepted certificates, so there are no more than manifests have named.
    """

    def __init__(
        self, *, per_s: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = burst
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, identity: str) -> bool:
        """Return whether the identity may go on now, and count it if so."""
        now = self._clock()
        with self._lock:
            left, since = self._left.get(identity, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_s)
            is_allowed = left >= 1
            self._left[identity] = (left - is_allowed, now)
            return is_allowed


@dataclass(slots=True, eq=False)
class Turn:
    """A large answer on its way to `address`; end: takes it back. can_end_at: when others may have its place, by the clock of `Turns`."""

    address: str
    can_end_at: float
    end: Callable[[], None]


class Turns:
    """Places for answers so large that memory has room for few: each is taken until the caller has it all.

    Who finds no place waits for wait_s, if fewer than `waiting` do. An answer that is not taken within sending_s loses its place
    to somebody who waits. clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        places: int = 2,
        waiting: int = 8,
        wait_s: float = 10.0,
        sending_s: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._waiting_at_most = waiting
        self._wait_s = wait_s
        self._sending_s = sending_s
        self._clock = clock
        self._waiting = 0
        self._changed = threading.Condition()
        self._room: Room[Turn] = Room(places, since=self._since, patience_s=0)

    def take(self, address: str, end: Callable[[], None]) -> Turn | None:
        """Return a place for an answer, which `give_back` ends; None if there is none."""
        with self._changed:
            if self._waiting == self._waiting_at_most:
                return None
            self._waiting += 1
            try:
                until = self._clock() + self._wait_s
                while not self._room.make_place(address, self._clock(), self._end):
                    if self._clock() >= until:
                        return None
                    self._changed.wait(min(1.0, self._wait_s))
            finally:
                self._waiting -= 1
            turn = Turn(address, self._clock() + self._sending_s, end)
            self._room.add(turn)
            return turn

    def give_back(self, turn: Turn) -> None:
        """Note that an answer was sent, or cannot be any more."""
        with self._changed:
            self._room.discard(turn)
            self._changed.notify()

    def _since(self, turn: Turn) -> float:
        return turn.can_end_at if turn.can_end_at <= self._clock() else math.inf

    def _end(self, turn: Turn) -> None:
        self._room.discard(turn)
        turn.end()
