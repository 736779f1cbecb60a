"""Ends attested TLS in front of a plain gRPC server: accepts, shakes hands, then moves bytes both ways.

One asyncio loop owns all sockets. Handshake steps run in a bounded executor, because evidence may take a hundred
milliseconds of hardware time; a step never overlaps another of the same connection. HTTP/2 is not parsed, so deadlines,
cancellation, streams and flow control keep their native behaviour. Source: docs/internals/attestation.md 1.9.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.link import Link
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.session import ServerSession

_LOG = logging.getLogger(__name__)
_ACCEPT_AT_ONCE = 64
_ACCEPT_PAUSE_S = 1.0


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


class Terminator:
    """The listening side; all methods are called on the event loop given by the running task."""

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
        self.links: set[Link] = set()
        self.handshaking: set[Link] = set()
        self.closed = False
        self._on_refused = on_refused
        self._listener: socket.socket | None = None
        self._adoptions: set[asyncio.Task[None]] = set()

    async def start(self, listener: socket.socket) -> None:
        """Accept connections from a listening socket that does not block.

        Not with `create_server`: when it is closed at the wrong moment it forgets a connection it has accepted already.
        """
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def stop_accepting(self) -> None:
        """Close the listening socket; connections go on."""
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener.fileno())
            self._listener.close()
            self._listener = None

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(_ACCEPT_AT_ONCE):
            if self._listener is None:
                return
            try:
                connection, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except (
                OSError
            ) as err:  # out of descriptors or memory: leave the others in the queue for a while
                _LOG.warning("cannot accept a connection: %s", err)
                loop.remove_reader(self._listener.fileno())
                loop.call_later(_ACCEPT_PAUSE_S, self._accept_again)
                return
            task = loop.create_task(self._adopt(connection))
            self._adoptions.add(task)
            task.add_done_callback(self._adoptions.discard)

    def _accept_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def _adopt(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)  # noqa: FBT003  # the socket API has it so
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: Link(self), connection)
        except OSError as err:
            _LOG.warning("lost a connection at once: %s", err)
            connection.close()

    def has_room(self) -> bool:
        """Return whether one more connection may begin its handshake; ends one that has stalled if that makes room.

        Else a few hundred connections that say nothing would keep everybody out.
        """
        if self.closed or len(self.links) >= self.limits.connections:
            return False
        if len(self.handshaking) < self.limits.handshakes:
            return True
        longest = min(self.handshaking, key=lambda link: link.waits_since)
        now = asyncio.get_running_loop().time()
        if now - longest.waits_since < self.limits.stalled_s:
            return False
        longest.give_up(HandshakeFailed("the peer stalled while others waited"))
        return True

    async def close(self) -> None:
        """Close the listening socket and every connection, and wait until all of them are gone.

        Also those that the loop has accepted but not yet announced: every task of the loop belongs to us.
        """
        self.closed = True
        self.stop_accepting()
        for link in list(self.links):
            link.close()
            link.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn

    def refused(self, error: Exception, peer: str) -> None:
        """Write why a peer was refused to the local log; the peer itself got an alert and no text."""
        _LOG.warning("refused %s: %s", peer, error)
        if self._on_refused is not None:
            self._on_refused(error)
