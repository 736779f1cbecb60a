"""One connection of a terminator: the handshake, then bytes in both directions between TLS and the plain gRPC server."""

import asyncio
import ipaddress
import math
import socket
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from OpenSSL import SSL

from contrast_tasks.addresses import joined
from contrast_tasks.atls.computing import COMPUTING
from contrast_tasks.atls.errors import TooSlow
from contrast_tasks.atls.room import network_of
from contrast_tasks.atls.service import Service
from contrast_tasks.atls.session import READ_BYTES, ServerSession, has_first_record
from contrast_tasks.atls.types import PeerIdentity

_LINGER_S = 5.0
_HELLO_READ_BYTES = 16 * 1024


class Link(asyncio.BufferedProtocol):
    """One client connection: a handshake in `task`, then a pump that the two transports drive."""

    idle_since: float = math.inf
    _transport: asyncio.Transport

    def __init__(self, service: Service, peer: tuple[Any, ...]) -> None:
        self._service = service
        self._peer_address = _without_zone(peer[0])
        self.peer = joined(self._peer_address, peer[1])
        self.address = network_of(self._peer_address)
        self.waits_since = asyncio.get_running_loop().time()
        self._inbox = bytearray()
        self._arrived = asyncio.Event()
        self._connected = self._ended = False
        self._session: ServerSession | None = None
        self._plain: _PlainSide | None = None
        self._name = ""
        self._alert = b""
        self._done = asyncio.Event()
        self._lingering: asyncio.TimerHandle | None = None

    def begin(self, connection: socket.socket) -> None:
        """Serve the accepted connection in a task of its own."""
        connection.setblocking(False)  # noqa: FBT003  # the socket API has it so
        # asyncio does that only for sockets that name their protocol; accepted ones do not.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.task = asyncio.get_running_loop().create_task(self._run(connection))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, unless the place was given to somebody else meanwhile."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise for stream sockets
        self._transport, self._connected = transport, True
        if self._ended:
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """Return the listener's buffer: bytes are taken out of it before the next connection reads."""
        return self._service.buffer[: READ_BYTES if self._plain is not None else _HELLO_READ_BYTES]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass bytes on, or keep them for the next step of the handshake."""
        data = bytes(self._service.buffer[:nbytes])
        if self._plain is not None:
            self.idle_since = asyncio.get_running_loop().time()
            self._decrypt(data)
            return
        self._inbox += data
        self._arrived.set()
        if len(self._inbox) > self._service.limits.hello_bytes:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """Close: half-open connections have no use here."""
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        """Close our side too."""
        self.close()
        if self._lingering is not None:
            # Else it would keep everything of this connection in memory until then.
            self._lingering.cancel()

    def pause_writing(self) -> None:
        """Stop reading from the backend while the peer does not read."""
        if self._plain is not None:
            self._plain.transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the backend again."""
        if self._plain is not None:
            self._plain.transport.resume_reading()

    def close(self) -> None:
        """Remove the peer from the registry, then close both sockets; may be called again."""
        if self._ended:
            return
        self._ended = True
        if self._name:
            self._service.registry.remove(self._name)
        if self._plain is not None:
            self._plain.transport.abort()
        self._arrived.set()
        self._done.set()
        if self._connected:
            self._transport.close()
            # Unsent bytes for a peer that does not read must not stay in memory.
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(_LINGER_S, self._transport.abort)

    def abort(self) -> None:
        """Close both sockets at once, whatever is not sent yet."""
        self.close()
        if self._connected:
            self._transport.abort()

    def give_up(self, reason: Exception) -> None:
        """End the connection from our side and log the reason."""
        self._service.left(self)
        if self._plain is None:
            self._service.refused(reason, self.peer)
        else:
            self._service.log("closed a connection of %s: %s", self.peer, reason)
        self.close()

    def encrypt(self, data: bytes) -> None:
        """Encrypt bytes of the backend and send them to the peer."""
        if self._ended or self._session is None:
            return
        try:
            self._session.connection.sendall(data)
        except SSL.Error:
            self.close()
            return
        self._flush()

    def pause_reading(self) -> None:
        """Stop reading from the peer while the backend does not read."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the peer again."""
        self._transport.resume_reading()

    def end_of_backend(self) -> None:
        """End the TLS session and close."""
        if not self._ended and self._session is not None:
            try:
                self._session.connection.shutdown()
            except SSL.Error:
                pass
            else:
                self._flush()
        self.close()

    async def _run(self, connection: socket.socket) -> None:
        service, loop = self._service, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(service.limits.handshake_s):
                await loop.connect_accepted_socket(lambda: self, connection)
                session, identity = await self._handshake()
            service.finished(self)
            await self._connect_backend(session, identity)
            await self._done.wait()
        except TimeoutError:
            service.refused(TooSlow("the handshake took too long"), self.peer)
        except Exception as err:  # noqa: BLE001  # the outermost handler of a connection
            if not self._ended or not isinstance(err, ConnectionError):
                service.refused(err, self.peer)
            # Last, so that log and counters have the reason when the peer receives the alert.
            if self._alert:
                self._transport.write(self._alert)
        finally:
            self.close()
            service.left(self)

    async def _handshake(self) -> tuple[ServerSession, PeerIdentity]:
        loop = asyncio.get_running_loop()
        session: ServerSession | None = None
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._ended:
                raise ConnectionResetError("the peer closed the connection during the handshake")
            if session is None and not has_first_record(bytes(self._inbox)):
                continue
            received = bytes(self._inbox)
            self._inbox.clear()
            self._transport.resume_reading()
            waited_since, self.waits_since = self.waits_since, math.inf
            step = partial(_step, session, self._service.new_session, received)
            session, complete, answer, error = await asyncio.wrap_future(
                self._service.queue.submit(self.address, step)
            )
            # Only an answer of ours begins another wait: single bytes that lead to none are no progress.
            self.waits_since = loop.time() if answer else waited_since
            if error is not None:
                self._alert = answer
                raise error
            if answer:
                self._transport.write(answer)
            if complete and session is not None and session.identity is not None:
                return session, session.identity

    async def _connect_backend(self, session: ServerSession, identity: PeerIdentity) -> None:
        loop = asyncio.get_running_loop()
        identity = replace(identity, address=self._peer_address)
        self._name = self._service.registry.add(identity)
        backend = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            backend.setblocking(False)  # noqa: FBT003  # the socket API has it so
            backend.bind(f"\0{self._name}")
            await loop.sock_connect(backend, self._service.backend_path)
            plain = _PlainSide(self)
            await loop.create_unix_connection(lambda: plain, sock=backend)
        except BaseException:
            self._service.registry.remove(self._name)
            backend.close()
            raise
        if self._ended:
            self._service.registry.remove(self._name)
            plain.transport.abort()
            return
        self._session, self._plain = session, plain
        self.idle_since = loop.time()
        waiting = bytes(self._inbox)
        self._inbox.clear()
        self._decrypt(waiting)

    def _decrypt(self, data: bytes) -> None:
        session, plain = self._session, self._plain
        if self._ended or session is None or plain is None:
            return
        connection = session.connection
        if data:
            connection.bio_write(data)
        try:
            while True:
                plain.transport.write(connection.recv(READ_BYTES))
        except SSL.WantReadError:
            self._flush()
        except SSL.Error:  # a clean end of the peer, or bytes that are not TLS
            self.close()

    def _flush(self) -> None:
        waiting = self._session.pending() if self._session is not None else b""
        if waiting:
            self._transport.write(waiting)


class _PlainSide(asyncio.Protocol):
    """The connection to the gRPC server; its socket is bound to the name under which the peer is registered."""

    transport: asyncio.Transport

    def __init__(self, link: Link) -> None:
        self._link = link

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # asyncio's promise for stream sockets
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._link.encrypt(data)

    def pause_writing(self) -> None:
        self._link.pause_reading()

    def resume_writing(self) -> None:
        self._link.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._link.end_of_backend()


def _step(
    session: ServerSession | None, new_session: Callable[[], ServerSession], received: bytes
) -> tuple[ServerSession | None, bool, bytes, Exception | None]:
    """Advance a handshake in a worker thread; return the session, whether it is complete, bytes to send, the failure."""
    if session is None:
        session = new_session()  # may wait for the store
    try:
        with COMPUTING:
            complete = session.advance(received)
    except Exception as err:  # noqa: BLE001  # the connection's own handler raises it
        return session, False, session.pending(), err
    return session, complete, session.pending(), None


def _without_zone(host: str) -> str:
    """Return the peer's IP address without a zone; IPv4 inside IPv6 as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    return str(getattr(address, "ipv4_mapped", None) or address)
