"""A limit on what calls take while they depend on their peers: places while a request is read, bytes until an answer was read.

Whoever is slow keeps nobody out: at the limit a call of the address that holds most ends in favour of a newcomer's that holds less,
else one that has taken too long. A newcomer waits a little for that, in few threads. Source: docs/internals/coordinator.md 2.4.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

_REMEMBERED = 10_000
# How long a call waits for others of its connection; what has arrived is read in a small part of that.
_BRIEFLY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holder:
    """A call that holds a part. address: whose it is, as `network_of` returns it; end: ends the call."""

    address: str
    connection: str
    size: int
    since: float
    end: Callable[[], object]


class _Waiting(NamedTuple):
    address: str
    number: int
    connection: str


class Budget:
    """What all calls of one kind hold together, at most `most`; one alone may hold more.

    patience_s: before a call may be ended for another one, infinity: none is. wait_s: how long a newcomer waits for that; waiting:
    how many do, half of them of one address; whoever is behind these in turn is refused, even if it came sooner. calls: the most
    of one connection, whose others wait for them only briefly.
    """

    def __init__(
        self,
        most: int,
        *,
        patience_s: float,
        wait_s: float = 15.0,
        waiting: int = 6,
        calls: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._patience_s = patience_s
        self._wait_s = wait_s
        self._most_waiting = waiting
        self._most_calls = calls
        self._clock = clock
        self._holders: set[Holder] = set()
        self._held: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        # Those who hold or wait for a part, and when each address got its last one.
        self._asking: list[_Waiting] = []
        self._served: dict[str, float] = {}
        self._numbers = count()
        self._freed = threading.Condition()

    def take(
        self, address: str, size: int, end: Callable[[], object], *, connection: str = ""
    ) -> Holder | None:
        """Return who holds a part of this size from now on, None if there is none; `leave` gives it back."""
        with self._freed:
            me = _Waiting(address, next(self._numbers), connection)
            self._asking.append(me)
            if len(self._asking) > self._most_waiting:
                # Whoever is behind it may have to give up.
                self._freed.notify_all()
            try:
                if not self._wait(me, size):
                    return None
            finally:
                self._asking.remove(me)
                self._freed.notify_all()
            holder = Holder(
                address=address, connection=connection, size=size, since=self._clock(), end=end
            )
            self._holders.add(holder)
            self._held[address] += size
            self._calls[connection] += 1
            self._served.pop(address, None)
            self._served[address] = holder.since
            if len(self._served) > _REMEMBERED:
                del self._served[next(iter(self._served))]
        return holder

    def leave(self, holder: Holder) -> None:
        """Take a part back; may be called again."""
        with self._freed:
            if holder in self._holders:
                self._holders.remove(holder)
                _subtract(self._held, holder.address, holder.size)
                _subtract(self._calls, holder.connection, 1)
                self._freed.notify_all()

    def _wait(self, me: _Waiting, size: int) -> bool:
        """Wait for a part, and return whether there is one."""
        begun = self._clock()
        while not (self._is_next(me) and self._make_room(me.address, size)):
            wait_s = self._wait_s if self._is_free(me) else min(self._wait_s, _BRIEFLY_S)
            left = begun + wait_s - self._clock()
            if left <= 0 or not self._may_wait(me):
                return False
            self._freed.wait(min(left, self._patience_s))
        return True

    def _turn(self, each: _Waiting) -> tuple[float, int]:
        """Return when it is somebody's turn: who was served longest ago is first, whenever the others came."""
        return self._served.get(each.address, -math.inf), each.number

    def _is_next(self, me: _Waiting) -> bool:
        free = (each for each in self._asking if self._is_free(each))
        return me is min(free, key=self._turn, default=None)

    def _is_free(self, each: _Waiting) -> bool:
        """Return whether a connection may have one more call."""
        return self._calls[each.connection] < self._most_calls

    def _may_wait(self, me: _Waiting) -> bool:
        mine = self._turn(me)
        before = [each for each in self._asking if self._turn(each) < mine]
        own = sum(each.address == me.address for each in before)
        return len(before) < self._most_waiting and own < self._most_waiting // 2

    def _make_room(self, address: str, size: int) -> bool:
        while self._holders and self._held.total() + size > self._most:
            leaving = self._leaving(address, size)
            if leaving is None:
                return False
            self.leave(leaving)
            leaving.end()
        return True

    def _leaving(self, address: str, size: int) -> Holder | None:
        if self._patience_s == math.inf:
            return None
        greediest, most = self._held.most_common(1)[0]
        oldest = min(self._holders, key=lambda each: each.since)
        if most > self._held[address] + size:
            rivals = (each for each in self._holders if each.address == greediest)
            return min(rivals, key=lambda each: each.since)
        return oldest if self._clock() - oldest.since >= self._patience_s else None


def _subtract(counter: Counter[str], name: str, number: int) -> None:
    counter[name] -= number
    if not counter[name]:
        del counter[name]
