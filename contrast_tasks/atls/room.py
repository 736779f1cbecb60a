"""Places and threads for connections, shared fairly among the addresses that ask for them.

Whoever holds many places loses one when somebody with fewer asks; among equals, who has waited too long does; and nobody holds more
than three quarters. So no address can keep others out, however many connections it opens and whatever it sends on them.
"""

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from ipaddress import IPv6Address
from typing import Any, Generic, Protocol, TypeVar


class Guest(Protocol):
    """Who holds a place. address: as `network_of` returns it."""

    address: str


Held = TypeVar("Held", bound=Guest)
Result = TypeVar("Result")


class Room(Generic[Held]):
    """A limited number of places.

    since: the time since which a guest does nothing for its place, infinity if it cannot be sent away now. patience_s: how long
    that is borne when all places are taken and nobody holds more than the others.
    """

    def __init__(self, places: int, *, since: Callable[[Held], float], patience_s: float) -> None:
        self._places = places
        self._since = since
        self._patience_s = patience_s
        self._guests: set[Held] = set()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._guests)

    def __iter__(self) -> Iterator[Held]:
        return iter(list(self._guests))

    def add(self, guest: Held) -> None:
        """Give the guest a place; `make_place` tells whether there is one."""
        self._guests.add(guest)
        self._held[guest.address] += 1

    def discard(self, guest: Held) -> None:
        """Take the guest's place back, if it has one."""
        if guest in self._guests:
            self._guests.remove(guest)
            self._held[guest.address] -= 1
            if not self._held[guest.address]:
                del self._held[guest.address]

    def make_place(self, address: str, now: float, leave: Callable[[Held], None]) -> bool:
        """Return whether a guest of `address` gets a place; calls `leave` with whoever has to go for that."""
        is_greedy = self._held[address] >= self._places - self._places // 4
        if len(self._guests) < self._places and not is_greedy:
            return True
        greediest, most = self._held.most_common(1)[0]
        if is_greedy:
            rivals, patience_s = self._of(address), self._patience_s
        elif most > self._held[address] + 1:
            rivals, patience_s = self._of(greediest), -math.inf
        else:
            rivals, patience_s = list(self._guests), self._patience_s
        longest = min(rivals, key=self._since)
        since = self._since(longest)
        if since == math.inf or now - since < patience_s:
            return False
        leave(longest)
        return True

    def _of(self, address: str) -> list[Held]:
        return [guest for guest in self._guests if guest.address == address]


class FairQueue:
    """Runs calls on the threads of an executor, for one address after the other.

    So nobody waits for more than one call of each other address, however many an address asks for.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    def submit(self, address: str, call: Callable[[], Result]) -> "Future[Result]":
        """Return the future result of a call for an address."""
        future: Future[Result] = Future()
        with self._lock:
            self._waiting.setdefault(address, deque()).append((future, call))
        self._executor.submit(self._run_next)
        return future

    def _run_next(self) -> None:
        with self._lock:
            address = next(iter(self._waiting))
            calls = self._waiting.pop(address)
            future, call = calls.popleft()
            if calls:
                self._waiting[address] = calls  # behind all others
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except BaseException as err:  # noqa: BLE001  # whoever waits for the result raises it
            future.set_exception(err)


def network_of(address: str) -> str:
    """Return what counts as one address: IPv4 as it is, of IPv6 the first 64 bits, since a host has all the rest to itself."""
    if ":" not in address:
        return address
    ip = IPv6Address(address.partition("%")[0])
    return ip.packed[:8].hex() if ip.ipv4_mapped is None else str(ip.ipv4_mapped)
