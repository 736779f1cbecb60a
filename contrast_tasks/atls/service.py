"""What the connections of one listener share: sessions, registry, backend and limits.

All of it runs on the listener's event loop.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Protocol

from contrast_tasks.atls.errors import NoRoom, TooSlow
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.room import FairQueue, Room
from contrast_tasks.atls.session import READ_BYTES, ServerSession

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener spends on its peers.

    handshake_s: from accept to the verified peer; below the 30 s of clients, so that our alert arrives first.
    handshakes, connections: the most at a time. At a limit, a place is taken from whoever holds more than the newcomer, else from
    a handshake that has waited `stalled_s` for its peer, or a connection on which nothing came for `idle_s`; if there is none the
    newcomer is closed at once.
    hello_bytes: the most that a peer may send ahead of its handshake step.
    threads: the number of handshake steps that run in parallel; calls: that of calls that are answered in parallel.
    lines_per_s: the most that is logged about refused peers.
    """

    handshake_s: float = 25.0
    handshakes: int = 256
    connections: int = 4096
    stalled_s: float = 1.0
    idle_s: float = 30.0
    hello_bytes: int = 32 * 1024
    lines_per_s: int = 10
    threads: int = 8
    calls: int = 16


def affordable(descriptors: int) -> Limits:
    """Return the limits of a listener that may use so many file descriptors; each connection needs two."""
    usual = Limits()
    connections = max(2, min(usual.connections, descriptors // 2))
    return replace(
        usual, connections=connections, handshakes=min(usual.handshakes, connections // 2)
    )


class Connection(Protocol):
    """What a service needs of a connection."""

    address: str
    """Whose it is, as `room.network_of` returns it."""
    peer: str
    """Whose it is for people: IP address and port."""
    waits_since: float
    """During the handshake: the loop's time since which the peer owes us its part, infinity while a step of ours runs."""
    idle_since: float
    """After the handshake: the loop's time since which nothing came from the peer; infinity before."""

    def give_up(self, reason: Exception) -> None:
        """End the connection from our side and log the reason."""

    def close(self) -> None:
        """Close both sockets, ours to the peer once it has what was sent."""

    def abort(self) -> None:
        """Close both sockets at once."""


class Service:
    """One listener's connections; `backend_path` is the socket of the plain gRPC server."""

    def __init__(
        self,
        *,
        new_session: Callable[[], ServerSession],
        registry: Registry,
        backend_path: str,
        executor: Executor,
        limits: Limits,
        on_refused: Callable[[Exception], None] | None = None,
    ) -> None:
        self.new_session = new_session
        self.registry = registry
        self.backend_path = backend_path
        self.executor = executor
        self.limits = limits
        self.buffer = memoryview(bytearray(READ_BYTES))
        self.closed = False
        self.connections: Room[Connection] = Room(
            limits.connections, since=lambda one: one.idle_since, patience_s=limits.idle_s
        )
        self.handshaking: Room[Connection] = Room(
            limits.handshakes, since=lambda one: one.waits_since, patience_s=limits.stalled_s
        )
        self.queue = FairQueue(executor)
        self._on_refused = on_refused
        self._lines = LogRate(limits.lines_per_s)
        self._telling: asyncio.TimerHandle | None = None

    def admit(self, connection: Connection) -> bool:
        """Return whether one more connection may begin its handshake; ends another one if that makes room."""
        if self.closed:
            return False
        now = asyncio.get_running_loop().time()
        for room, leave in ((self.handshaking, _end_stalled), (self.connections, _end_idle)):
            if not room.make_place(connection.address, now, leave):
                self.refused(NoRoom("too many connections at a time"), connection.peer)
                return False
        self.connections.add(connection)
        self.handshaking.add(connection)
        return True

    def finished(self, connection: Connection) -> None:
        """Note that a handshake is over."""
        self.handshaking.discard(connection)

    def left(self, connection: Connection) -> None:
        """Note that a connection is gone."""
        self.handshaking.discard(connection)
        self.connections.discard(connection)

    def refused(self, error: Exception, peer: str) -> None:
        """Count a refused handshake and log why; the peer itself gets an alert without text."""
        self.log("refused %s: %s", peer, error)
        if self._on_refused is not None:
            self._on_refused(error)

    def log(self, text: str, *arguments: object) -> None:
        """Log a line about a peer, unless there were too many in this second."""
        loop = asyncio.get_running_loop()
        if self._lines.take(loop.time()):
            _LOG.warning(text, *arguments)
        elif self._telling is None:
            self._telling = loop.call_later(1, self._tell_left_out)

    def stop(self) -> None:
        """Tell how many lines were left out, now that no more come."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell_left_out()

    def _tell_left_out(self) -> None:
        self._telling = None
        _LOG.warning("%d more lines about refused peers were left out", self._lines.left_out())


def _end_stalled(connection: Connection) -> None:
    connection.give_up(TooSlow("the peer stalled while others waited"))


def _end_idle(connection: Connection) -> None:
    connection.give_up(TooSlow("the peer was idle while others waited"))


class LogRate:
    """Decides which lines are logged: at most so many in each second."""

    def __init__(self, lines_per_s: int) -> None:
        self._lines_per_s = lines_per_s
        self._second = -1
        self._taken = 0
        self._left_out = 0

    def take(self, now: float) -> bool:
        """Return whether a line is logged; count it if not."""
        if int(now) != self._second:
            self._second, self._taken = int(now), 0
        if self._taken >= self._lines_per_s:
            self._left_out += 1
            return False
        self._taken += 1
        return True

    def left_out(self) -> int:
        """Return how many lines were left out since the last call."""
        count, self._left_out = self._left_out, 0
        return count
