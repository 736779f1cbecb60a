"""A DNS server for the pods of a node: it answers for the cluster's domain, and knows nothing else.

Answers are made from a zone in memory; every other name is refused, because a node has no way out. Source: RFC 1035 4,
RFC 2782, RFC 3596, RFC 6891 6 (an OPT record in a query is ignored, and the answer has none, as 7 allows).
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

from contrast_tasks.local.isolated.names import DOMAIN, Answers, Zone

TTL_S: Final = 5
_MAX_UDP_BYTES: Final = 512
_MAX_TCP_BYTES: Final = 65535
_HEADER: Final = struct.Struct("!HHHHHH")
_A, _SRV, _AAAA, _ANY = 1, 33, 28, 255
_INTERNET: Final = 1
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSION_WANTED = 0x8000, 0x0400, 0x0200, 0x0100
_OPCODE: Final = 0x7800
_FORMAT_ERROR, _NO_NAME, _NOT_IMPLEMENTED, _REFUSED = 1, 3, 4, 5
_MOST_LABEL: Final = 63
_MOST_NAME: Final = 255
_POINTER_TO_QUESTION: Final = b"\xc0\x0c"
_IDLE_LIMIT_S: Final = 10.0


class Question(NamedTuple):
    """What a query asks; raw: its bytes in the message."""

    name: str
    kind: int
    is_internet: bool
    raw: bytes


def answer(message: bytes, zone: Zone, *, most_bytes: int = _MAX_UDP_BYTES) -> bytes:
    """Return the answer to a query, b"" for what is not worth one: no header, or an answer itself."""
    if len(message) < _HEADER.size:
        return b""
    identifier, flags, questions, *_ = _HEADER.unpack_from(message)
    if flags & _RESPONSE:
        return b""
    kept = _RESPONSE | (flags & (_OPCODE | _RECURSION_WANTED))
    question = _question(message) if questions == 1 else None
    code, records = _found(question, zone) if not flags & _OPCODE else (_NOT_IMPLEMENTED, [])
    raw = question.raw if question else b""
    if code in (0, _NO_NAME):
        kept |= _AUTHORITATIVE
    size = _HEADER.size + len(raw) + sum(map(len, records))
    if size > most_bytes:
        kept, records = kept | _TRUNCATED, []
    head = _HEADER.pack(identifier, kept | code, 1 if raw else 0, len(records), 0, 0)
    return b"".join((head, raw, *records))


def _found(question: Question | None, zone: Zone) -> tuple[int, list[bytes]]:
    """Return the code of the answer and its records."""
    if question is None:
        return _FORMAT_ERROR, []
    name = question.name
    if not question.is_internet or not (name == DOMAIN or name.endswith(f".{DOMAIN}")):
        return _REFUSED, []
    found = zone.find(name)
    return (_NO_NAME, []) if found is None else (0, list(_records(question.kind, found)))


def _question(message: bytes) -> Question | None:
    """Return the one question of a message, None if it is malformed; names in questions are not compressed."""
    labels: list[str] = []
    place = _HEADER.size
    while place < len(message) and (length := message[place]):
        end = place + 1 + length
        if length > _MOST_LABEL or end - _HEADER.size > _MOST_NAME:
            return None
        labels.append(message[place + 1 : end].decode("latin-1").lower())
        place = end
    end = place + 5
    if end > len(message):
        return None
    kind, net = struct.unpack_from("!HH", message, place + 1)
    raw = message[_HEADER.size : end]
    return Question(".".join(labels), kind, net in (_INTERNET, _ANY), raw)


def _records(kind: int, found: Answers) -> Iterator[bytes]:
    if kind in (_A, _ANY):
        for address in found.addresses:
            yield _record(_A, ip_address(address).packed)
    if kind in (_AAAA, _ANY):
        for address in found.addresses_6:
            yield _record(_AAAA, ip_address(address).packed)
    if kind in (_SRV, _ANY):
        for target in found.targets:
            name = b"".join(
                bytes([len(label)]) + label.encode("latin-1") for label in target.name.split(".")
            )
            yield _record(_SRV, struct.pack("!HHH", 0, 100, target.port) + name + b"\0")


def _record(kind: int, content: bytes) -> bytes:
    head = struct.pack("!HHIH", kind, _INTERNET, TTL_S, len(content))
    return _POINTER_TO_QUESTION + head + content


class DnsServer:
    """Serves on UDP and TCP until it is closed; zone: returns that of now."""

    def __init__(self, zone: Callable[[], Zone]) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._streams: set[asyncio.Task[None]] = set()

    async def open(self, address: str, port: int = 53) -> None:
        """Begin to serve; raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._zone), local_addr=(address, port), family=socket.AF_INET
        )
        self._server = await asyncio.start_server(self._accept, address, port)

    async def close(self) -> None:
        """Stop serving."""
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in self._streams:
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._stream(reader, writer))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_LIMIT_S):
                    (length,) = struct.unpack("!H", await reader.readexactly(2))
                    message = await reader.readexactly(length)
                found = answer(message, self._zone(), most_bytes=_MAX_TCP_BYTES)
                if not found:
                    return
                writer.write(struct.pack("!H", len(found)) + found)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):  # also TimeoutError
            return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, zone: Callable[[], Zone]) -> None:
        self._zone = zone
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]  # as for datagrams
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        found = answer(data, self._zone())
        if found and self._transport is not None:
            self._transport.sendto(found, addr)
