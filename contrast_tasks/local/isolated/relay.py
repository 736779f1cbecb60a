"""TCP relays: what connects to a listening socket is connected to one of several endpoints, byte for byte.

They forward ports of this machine to pods, and stand for Services, whose endpoints change while pods come and go.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from typing import Final

from contrast_tasks.local.messages import Endpoint

_CHUNK_BYTES: Final = 1 << 16
_CONNECT_LIMIT_S: Final = 10.0


class Relay:
    """A relay that runs until it is closed; endpoints: returns those of now, tried in turn from a different one each time.

    Without endpoints, or if none accepts, the connection is closed.
    """

    def __init__(
        self, listener: socket.socket, endpoints: Callable[[], Sequence[Endpoint]]
    ) -> None:
        listener.settimeout(0)
        self._listener = listener
        self._endpoints = endpoints
        self._turn = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._task = asyncio.create_task(self._accept())

    async def close(self) -> None:
        """End the relay and all its connections."""
        tasks = [self._task, *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, _ = await loop.sock_accept(self._listener)
            except OSError:
                # Out of descriptors or memory: those who are connected must end first.
                await asyncio.sleep(0.05)
                continue
            task = asyncio.create_task(self._serve(client))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

    async def _serve(self, client: socket.socket) -> None:
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            server = await self._connect()
            if server is None:
                return
            with server:
                await asyncio.gather(_copy(client, server), _copy(server, client))

    async def _connect(self) -> socket.socket | None:
        endpoints = list(self._endpoints())
        self._turn += 1
        for index in range(len(endpoints)):
            address, port = endpoints[(self._turn + index) % len(endpoints)]
            server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            server.settimeout(0)
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                async with asyncio.timeout(_CONNECT_LIMIT_S):
                    await asyncio.get_running_loop().sock_connect(server, (address, port))
            except OSError:  # also TimeoutError
                server.close()
            except BaseException:
                server.close()
                raise
            else:
                return server
        return None


async def _copy(source: socket.socket, target: socket.socket) -> None:
    """Copy until the source ends, and say so to the target; a side that breaks ends both directions."""
    loop = asyncio.get_running_loop()
    try:
        while chunk := await loop.sock_recv(source, _CHUNK_BYTES):
            await loop.sock_sendall(target, chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
