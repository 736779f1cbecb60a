"""Calls that depend on their peers: a request that has not come whole, an answer that nobody reads, and what all of them may take.

On the wire a call with one request looks like a stream of one. It is served as a stream, so that a thread asks for the request only
once it has a place for that: calls whose requests never come would else keep all threads, and with them everybody out. A request
that has no members is not asked for at all.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import grpc

from contrast_tasks.api.errors import REASON_ARGUMENT, REASON_BUSY
from contrast_tasks.api.limits import MAX_PENDING_BYTES
from contrast_tasks.atls.room import network_of
from contrast_tasks.atls.types import PeerIdentity
from coordinator.budget import Budget
from coordinator.refusal import Refusal

# Before a place for reading may be taken from who holds it.
_READING_S = 1.0
# A request from this size on takes memory that matters, several times over while it is handled; and how much all such take.
_LARGE_BYTES = 256 * 1024
LARGE_AT_ONCE_BYTES = 32 * 1024 * 1024
# What an answer takes besides its content, its call included, and before it may be ended in favour of another.
_ANSWER_BYTES = 32 * 1024
_ANSWER_S = 5.0


def reading_budget(threads: int) -> Budget:
    """Return how many requests may be read at a time by an API with so many threads: most are always left to answer."""
    return Budget(
        max(2, threads * 3 // 8),
        patience_s=_READING_S,
        waiting=2 * threads,
        calls=max(2, threads // 4),
    )


def requests_budget() -> Budget:
    """Return how many bytes the large requests may have that are handled at a time; none is ended for another."""
    return Budget(LARGE_AT_ONCE_BYTES, patience_s=math.inf)


def answers_budget() -> Budget:
    """Return how many bytes answers with the history may take until they were read."""
    return Budget(MAX_PENDING_BYTES, patience_s=_ANSWER_S)


def read_request(
    reading: Budget,
    requests: Iterator[bytes],
    identity: PeerIdentity,
    context: grpc.ServicerContext,
) -> bytes:
    """Return the one request of a call; raises Refusal, and RpcError for a call that has ended."""
    place = reading.take(_address(identity), 1, context.cancel, connection=context.peer())
    if place is None:
        raise Refusal(REASON_BUSY, "too many requests are on their way")
    try:
        return next(requests)
    except StopIteration:
        raise Refusal(REASON_ARGUMENT, "the request is missing") from None
    finally:
        reading.leave(place)


@contextmanager
def held_request(requests: Budget, size: int, identity: PeerIdentity) -> Iterator[None]:
    """Have memory for a request of so many bytes while it is handled; raises Refusal."""
    if size < _LARGE_BYTES:
        yield
        return
    place = requests.take(_address(identity), size, lambda: None)
    if place is None:
        raise Refusal(REASON_BUSY, "too many large requests are handled")
    try:
        yield
    finally:
        requests.leave(place)


def hold_answer(
    answers: Budget, size: int, identity: PeerIdentity, context: grpc.ServicerContext
) -> None:
    """Have memory for an answer of about so many bytes until the call is over; raises Refusal."""
    place = answers.take(_address(identity), size + _ANSWER_BYTES, context.cancel)
    if place is None:
        raise Refusal(REASON_BUSY, "too many answers are on their way")
    if not context.add_callback(partial(answers.leave, place)):
        answers.leave(place)


def _address(identity: PeerIdentity) -> str:
    return network_of(identity.address or "")
