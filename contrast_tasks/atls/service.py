"""What the connections of one listener share: sessions, registry, backend and limits.

All of it runs on the listener's event loop.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol

from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.session import ServerSession

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one listener spends on its peers.

    handshake_s: from accept to the verified peer; below the 30 s of clients, so that our alert arrives first.
    handshakes, connections: the most at a time; further connections are closed at once.
    stalled_s: at the limit of handshakes, one that has waited this long for its peer is ended in favour of a new one.
    hello_bytes: the most that a peer may send ahead of its handshake step.
    threads: the number of handshake steps that run in parallel.
    """

    handshake_s: float = 25.0
    handshakes: int = 256
    connections: int = 4096
    stalled_s: float = 1.0
    hello_bytes: int = 256 * 1024
    threads: int = 8


class Connection(Protocol):
    """What a service needs of a connection."""

    transport: asyncio.Transport
    waits_since: float
    """During the handshake: the loop's time since which we wait for the peer, infinity while a step runs."""

    def give_up(self, reason: Exception) -> None:
        """End the handshake from our side and log the reason."""

    def close(self) -> None:
        """Close both sockets."""


@dataclass(slots=True, kw_only=True)
class Service:
    """One listener's connections; `backend_path` is the socket of the plain gRPC server."""

    new_session: Callable[[], ServerSession]
    registry: Registry
    backend_path: str
    executor: Executor
    limits: Limits
    on_refused: Callable[[Exception], None] | None = None
    connections: set[Connection] = field(default_factory=set)
    handshaking: set[Connection] = field(default_factory=set)
    closed: bool = False

    def admit(self, connection: Connection) -> bool:
        """Return whether one more connection may begin its handshake; end a stalled one if that makes room.

        Otherwise a few hundred silent connections could keep all others out.
        """
        if self.closed or not self._has_room():
            if not self.closed:
                _LOG.warning("closed a connection at once: too many at a time")
            return False
        self.connections.add(connection)
        self.handshaking.add(connection)
        return True

    def _has_room(self) -> bool:
        if len(self.connections) >= self.limits.connections:
            return False
        if len(self.handshaking) < self.limits.handshakes:
            return True
        longest = min(self.handshaking, key=lambda connection: connection.waits_since)
        now = asyncio.get_running_loop().time()
        if now - longest.waits_since < self.limits.stalled_s:
            return False
        longest.give_up(HandshakeFailed("the peer stalled while others waited"))
        return True

    def refused(self, error: Exception, peer: str) -> None:
        """Log why a peer was refused; the peer itself gets an alert without text."""
        _LOG.warning("refused %s: %s", peer, error)
        if self.on_refused is not None:
            self.on_refused(error)
