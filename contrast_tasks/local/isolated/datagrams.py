"""UDP relays: datagrams to a Service reach one of the pods behind it, and answers find their way back.

Each sender has a socket of its own towards the pod that it was given, until it is silent for a while.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Final

from contrast_tasks.local.messages import Endpoint

_IDLE_S: Final = 60.0
_MOST_SENDERS: Final = 1024


class DatagramRelay(asyncio.DatagramProtocol):
    """A relay that runs until it is closed; endpoints: returns those of now. Without any, datagrams are dropped."""

    def __init__(self, endpoints: Callable[[], Sequence[Endpoint]]) -> None:
        self._endpoints = endpoints
        self._transport: asyncio.DatagramTransport | None = None
        self._senders: dict[Endpoint, _Sender] = {}
        self._turn = 0

    @classmethod
    async def open(
        cls, listener: socket.socket, endpoints: Callable[[], Sequence[Endpoint]]
    ) -> "DatagramRelay":
        """Begin to relay from a bound socket."""
        loop = asyncio.get_running_loop()
        _, relay = await loop.create_datagram_endpoint(lambda: cls(endpoints), sock=listener)
        return relay

    async def close(self) -> None:
        """End the relay."""
        for sender in list(self._senders.values()):
            sender.close()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as for datagrams
        """Keep the transport for answers."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Endpoint) -> None:
        """Pass a datagram on, for a new sender to the next endpoint."""
        sender = self._senders.get(addr)
        if sender is None:
            endpoints = self._endpoints()
            if not endpoints or len(self._senders) >= _MOST_SENDERS:
                return
            self._turn += 1
            endpoint = endpoints[self._turn % len(endpoints)]
            sender = self._senders[addr] = _Sender(
                endpoint, lambda answer: self._back(answer, addr)
            )
            sender.ended.add_done_callback(lambda _: self._senders.pop(addr, None))
        sender.send(data)

    def _back(self, answer: bytes, addr: Endpoint) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(answer, addr)


class _Sender:
    """One sender's socket towards its endpoint; back: gets what comes from there. `ended` is set when it is closed."""

    def __init__(self, endpoint: Endpoint, back: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._back = back
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(0)
        self._socket.connect(endpoint)
        self.ended: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._socket, self._receive)
        self._timer = loop.call_later(_IDLE_S, self.close)

    def send(self, data: bytes) -> None:
        """Pass on what the sender has sent; UDP may lose it."""
        self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_IDLE_S, self.close)
        try:
            self._socket.send(data)
        except OSError:
            self.close()

    def close(self) -> None:
        """Forget the sender."""
        if self.ended.done():
            return
        self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()
        self.ended.set_result(None)

    def _receive(self) -> None:
        try:
            self._back(self._socket.recv(65535))
        except BlockingIOError:
            return
        except OSError:
            # Nobody listens there.
            self.close()
