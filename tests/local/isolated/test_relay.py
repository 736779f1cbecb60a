"""Relays: bytes of both directions, the end of each, endpoints in turn, and nobody behind."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from contrast_tasks.local.isolated.relay import Relay
from contrast_tasks.local.messages import Endpoint


@asynccontextmanager
async def server(name: bytes) -> AsyncIterator[Endpoint]:
    """Serve: read to the end, then answer with the name and what was read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name + await reader.read())
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    running = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with running:
        yield running.sockets[0].getsockname()


@asynccontextmanager
async def relayed(endpoints: Sequence[Endpoint]) -> AsyncIterator[Endpoint]:
    listener = socket.create_server(("127.0.0.1", 0))
    relay = Relay(listener, lambda: endpoints)
    try:
        yield listener.getsockname()
    finally:
        await relay.close()


async def said(place: Endpoint, words: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*place)
    try:
        writer.write(words)
        writer.write_eof()
        return await reader.read()
    except OSError:  # the other side was faster
        return b""
    finally:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


def test_bytes_and_their_end_pass_in_both_directions() -> None:
    async def run() -> bytes:
        async with server(b"web:") as there, relayed([there]) as place:
            return await said(place, b"x" * 300_000)

    assert asyncio.run(run()) == b"web:" + b"x" * 300_000


def test_connections_take_turns_and_go_on_where_somebody_is_gone() -> None:
    async def run() -> tuple[set[bytes], set[bytes]]:
        async with server(b"one") as one, server(b"two") as two:
            with socket.create_server(("127.0.0.1", 0)) as free:
                gone = free.getsockname()
            async with relayed([one, two]) as place:
                turns = {await said(place, b"") for _ in range(2)}
            async with relayed([gone, one]) as place:
                rest = {await said(place, b"") for _ in range(2)}
        return turns, rest

    assert asyncio.run(run()) == ({b"one", b"two"}, {b"one"})


def test_with_nobody_behind_it_a_connection_is_closed_without_a_byte() -> None:
    async def run() -> bytes:
        async with relayed([]) as place:
            return await said(place, b"hello")

    assert asyncio.run(run()) == b""


def test_closing_a_relay_ends_its_connections_and_its_socket() -> None:
    async def run() -> tuple[bytes, bool]:
        async with server(b"") as there:
            async with relayed([there]) as place:
                reader, writer = await asyncio.open_connection(*place)
            left = await reader.read()
            writer.close()
            try:
                await asyncio.open_connection(*place)
            except OSError:
                return left, True
            return left, False

    assert asyncio.run(run()) == (b"", True)
