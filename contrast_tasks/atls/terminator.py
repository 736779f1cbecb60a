"""The listening side of attested TLS in front of a plain gRPC server.

One asyncio loop owns all sockets. Handshake steps run in a bounded executor, because hardware may take a hundred milliseconds
for evidence; the steps of one connection never overlap. HTTP/2 is passed on without parsing, so deadlines, cancellation,
streams and flow control keep their native behaviour. Source: docs/internals/attestation.md 1.9.
"""

import asyncio
import logging
import socket

from contrast_tasks.atls.link import Link
from contrast_tasks.atls.service import Service

_LOG = logging.getLogger(__name__)
_ACCEPT_AT_ONCE = 64
_ACCEPT_PAUSE_S = 1.0


class Terminator:
    """Accepts connections; all methods must be called on the event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._listener: socket.socket | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept connections on a listening, non-blocking socket.

        asyncio's `create_server` can lose a connection that it has just accepted when it is closed.
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
                connection, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as err:
                # Out of descriptors or memory: the other connections stay in the queue for a while.
                _LOG.warning("cannot accept a connection: %s", err)
                loop.remove_reader(self._listener.fileno())
                loop.call_later(_ACCEPT_PAUSE_S, self._accept_again)
                return
            link = Link(self._service, peer)
            # Who finds no place costs as little as possible: others wait in the kernel's queue.
            if self._service.admit(link):
                link.begin(connection)
            else:
                connection.close()

    def _accept_again(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    async def close(self) -> None:
        """Close the listening socket and every connection, and wait until all of them are gone.

        Waits for all tasks of the loop, and so for connections that it has accepted but not yet announced.
        """
        self._service.closed = True
        self._service.stop()
        self.stop_accepting()
        for connection in list(self._service.connections):
            connection.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next turn
