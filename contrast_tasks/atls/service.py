"""What the connections of one listener share: how they shake hands, where they lead, and how many of them there may be.

Everything here runs on the listener's event loop.
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
    handshakes, connections: at most so many at a time; further ones are closed at once.
    stalled_s: when handshakes are at their limit, one that has waited so long for its peer makes room for a new one.
    hello_bytes: how much a peer may send ahead of its handshake step.
    threads: handshake steps that run side by side.
    """

    handshake_s: float = 25.0
    handshakes: int = 256
    connections: int = 4096
    stalled_s: float = 1.0
    hello_bytes: int = 256 * 1024
    threads: int = 8


class Connection(Protocol):
    """A connection as far as the others are concerned."""

    transport: asyncio.Transport
    waits_since: float
    """During the handshake: the loop's time since when the peer has nothing sent, infinity while a step runs."""

    def give_up(self, reason: Exception) -> None:
        """End a handshake for a reason of ours."""

    def close(self) -> None:
        """Close both sockets."""


@dataclass(slots=True, kw_only=True)
class Service:
    """One listener's connections; `backend_path` is the socket of the plain gRPC server behind them."""

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
        """Return whether one more connection may begin its handshake; ends one that has stalled if that makes room.

        Else a few hundred connections that say nothing would keep everybody out.
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
        longest = min(self.handshaking, key=lambda one: one.waits_since)
        now = asyncio.get_running_loop().time()
        if now - longest.waits_since < self.limits.stalled_s:
            return False
        longest.give_up(HandshakeFailed("the peer stalled while others waited"))
        return True

    def refused(self, error: Exception, peer: str) -> None:
        """Write why a peer was refused to the local log; the peer itself got an alert and no text."""
        _LOG.warning("refused %s: %s", peer, error)
        if self.on_refused is not None:
            self.on_refused(error)
