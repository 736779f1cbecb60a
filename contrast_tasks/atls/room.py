"""Places for connections, shared fairly among the addresses that ask for them.

Whoever holds many places loses one when somebody with fewer asks; among equals, who has waited too long does. So no address can
keep others out, however many connections it opens and however little it sends on them.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from typing import Generic, Protocol, TypeVar


class Guest(Protocol):
    """Who holds a place. address: as `network_of` returns it."""

    address: str


Held = TypeVar("Held", bound=Guest)


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
        if len(self._guests) < self._places:
            return True
        greediest, most = self._held.most_common(1)[0]
        if most > self._held[address] + 1:
            rivals = [guest for guest in self._guests if guest.address == greediest]
            patience_s = -math.inf
        else:
            rivals, patience_s = list(self._guests), self._patience_s
        longest = min(rivals, key=self._since)
        since = self._since(longest)
        if since == math.inf or now - since < patience_s:
            return False
        leave(longest)
        return True


def network_of(address: str) -> str:
    """Return what counts as one address: IPv4 as it is, of IPv6 the first 64 bits, since a host has all the rest to itself."""
    return IPv6Address(address).packed[:8].hex() if ":" in address else address
