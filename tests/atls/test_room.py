"""Who gets a place when all are taken, as a table of who holds what."""

import asyncio
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from unittest.mock import Mock

import pytest

from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.room import FairQueue, Room, network_of
from contrast_tasks.atls.service import Limits, LogRate, Service, affordable


@dataclass(eq=False)
class Guest:
    address: str
    since: float


def make_room(guests: Sequence[Guest], places: int, patience_s: float = 1.0) -> Room[Guest]:
    room: Room[Guest] = Room(places, since=lambda guest: guest.since, patience_s=patience_s)
    for guest in guests:
        room.add(guest)
    return room


@pytest.mark.parametrize(
    ("held", "newcomer", "leaves"),
    [
        pytest.param([("a", 9.5)], "a", None, id="a-place-is-free"),
        pytest.param([("a", 9.5), ("a", 9.6)], "a", None, id="own-places-are-not-taken"),
        pytest.param([("a", 8.9), ("a", 9.6)], "a", 0, id="of-equals-the-stalled-one-goes"),
        pytest.param(
            [("a", 9.6), ("a", 9.5)], "b", 1, id="who-holds-more-loses-the-longest-waiting"
        ),
        pytest.param([("a", 9.5), ("b", 9.6)], "b", None, id="one-each-is-fair"),
        pytest.param([("a", 9.5), ("b", 9.6)], "c", None, id="nobody-holds-two-more"),
        pytest.param(
            [("a", math.inf), ("a", math.inf)], "b", None, id="a-running-step-is-not-ended"
        ),
        pytest.param([("a", math.inf), ("a", 9.9)], "b", 1, id="but-one-beside-it"),
    ],
)
def test_who_leaves(held: list[tuple[str, float]], newcomer: str, leaves: int | None) -> None:
    guests = [Guest(address, since) for address, since in held]
    room = make_room(guests, places=2)
    left: list[Guest] = []

    is_admitted = room.make_place(newcomer, 10.0, left.append)

    assert left == ([] if leaves is None else [guests[leaves]])
    assert is_admitted == (leaves is not None or len(held) < 2)


def test_one_address_with_any_number_of_connections_keeps_nobody_out() -> None:
    """The greedy one comes back with ten for each that others open, and never waits."""
    room: Room[Guest] = make_room([], places=16)

    def come(address: str, now: float) -> bool:
        if room.make_place(address, now, room.discard):
            room.add(Guest(address, now))
            return True
        return False

    admitted = 0
    for turn in range(100):
        for _ in range(10):
            come("greedy", turn / 1000)
        admitted += come(f"honest-{turn % 4}", turn / 1000)

    held = [guest.address for guest in room]
    assert admitted >= 12  # a fifth of 16 places for each of four
    assert all(held.count(f"honest-{number}") >= 3 for number in range(4))


def test_nobody_holds_more_than_three_quarters() -> None:
    """Also if every connection is at work, so that none can be ended."""
    room: Room[Guest] = make_room([], places=8)

    admitted = 0
    for _ in range(20):
        if room.make_place("greedy", 10.0, room.discard):
            room.add(Guest("greedy", math.inf))
            admitted += 1

    assert admitted == 6
    assert room.make_place("honest", 10.0, room.discard)


def test_a_place_that_was_given_back_is_free() -> None:
    guest = Guest("a", 9.9)
    room = make_room([guest], places=1)

    room.discard(guest)
    room.discard(guest)

    assert len(room) == 0
    assert room.make_place("a", 10.0, room.discard)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("::ffff:203.0.113.1", "203.0.113.1", True),
        ("::ffff:203.0.113.1", "::ffff:203.0.113.2", False),
        ("", "", True),
    ],
)
def test_an_ipv6_host_has_64_bits_to_itself(one: str, other: str, is_same: bool) -> None:
    assert (network_of(one) == network_of(other)) is is_same


@pytest.mark.parametrize(
    ("descriptors", "connections", "handshakes"),
    [(1 << 20, 4096, 256), (8192, 4096, 256), (384, 192, 96), (0, 2, 1), (-100, 2, 1)],
)
def test_a_listener_has_two_descriptors_for_each_connection(
    descriptors: int, connections: int, handshakes: int
) -> None:
    limits = affordable(descriptors)

    assert (limits.connections, limits.handshakes) == (connections, handshakes)


def test_the_queue_goes_from_address_to_address() -> None:
    order: list[str] = []
    with ThreadPoolExecutor(1) as one_thread:
        queue, held = FairQueue(one_thread), threading.Event()
        first = queue.submit("a", held.wait)
        asked = [
            queue.submit(address, partial(order.append, f"{address}{number}"))
            for address, count in (("a", 3), ("b", 2), ("c", 1))
            for number in range(count)
        ]
        asked[1].cancel()
        held.set()
        first.result()

    assert order == ["a0", "b0", "c0", "b1", "a2"]


def test_what_a_queued_call_raises_is_raised_where_its_result_is_asked_for() -> None:
    with ThreadPoolExecutor(1) as one_thread:
        failed = FairQueue(one_thread).submit("a", partial(int, "x"))

        with pytest.raises(ValueError, match="invalid literal"):
            failed.result()


def test_lines_beyond_the_rate_are_counted_and_not_logged() -> None:
    rate = LogRate(2)

    taken = [rate.take(now) for now in (5.0, 5.1, 5.2, 5.9, 6.0, 6.1, 7.5)]

    assert taken == [True, True, False, False, True, True, True]
    assert (rate.left_out(), rate.left_out()) == (2, 0)


def test_the_number_of_lines_left_out_is_told_after_the_storm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def storm() -> None:
        service = Service(
            new_session=Mock(),
            registry=Registry(),
            backend_path="",
            executor=Mock(),
            limits=Limits(lines_per_s=2),
        )
        for _ in range(500):
            service.log("refused %s", "somebody")
        service.stop()

    asyncio.run(storm())

    assert 1 <= caplog.text.count("refused somebody") <= 4
    (told,) = [each for each in caplog.messages if "left out" in each]
    shown = caplog.text.count("refused somebody")
    assert told == f"{500 - shown} more lines about refused peers were left out"
