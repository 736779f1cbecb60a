"""Datagrams to a Service: to one pod for each sender, answers to whoever asked, and nobody behind it."""

import asyncio
import socket

from contrast_tasks.local.isolated.datagrams import DatagramRelay
from contrast_tasks.local.messages import Endpoint


def bound() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(0)
    made.bind(("127.0.0.1", 0))
    return made


async def served(name: bytes, server: socket.socket, count: int) -> None:
    """Answer this many datagrams with the name and what was sent."""
    loop = asyncio.get_running_loop()
    for _ in range(count):
        data, sender = await loop.sock_recvfrom(server, 1000)
        await loop.sock_sendto(server, name + data, sender)


async def asked(client: socket.socket, place: Endpoint, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(client, data, place)
    return await loop.sock_recv(client, 1000)


def test_each_sender_keeps_its_pod_and_gets_its_own_answers() -> None:
    async def run() -> list[bytes]:
        with bound() as one, bound() as two, bound() as first, bound() as second:
            listener = bound()
            place = listener.getsockname()
            endpoints = [one.getsockname(), two.getsockname()]
            relay = await DatagramRelay.open(listener, lambda: endpoints)
            servers = [
                asyncio.ensure_future(served(b"one:", one, 2)),
                asyncio.ensure_future(served(b"two:", two, 2)),
            ]
            answers = [
                await asked(first, place, b"a"),
                await asked(second, place, b"b"),
                await asked(first, place, b"c"),
                await asked(second, place, b"d"),
            ]
            await asyncio.gather(*servers)
            await relay.close()
            return answers

    assert asyncio.run(run()) == [b"two:a", b"one:b", b"two:c", b"one:d"]


def test_with_nobody_behind_it_datagrams_are_dropped_until_somebody_is() -> None:
    async def run() -> bytes:
        with bound() as server, bound() as client:
            endpoints: list[Endpoint] = []
            relay = await DatagramRelay.open(bound(), lambda: endpoints)
            relay.datagram_received(b"dropped", client.getsockname())
            endpoints.append(server.getsockname())
            serving = asyncio.ensure_future(served(b"now:", server, 1))
            relay.datagram_received(b"x", client.getsockname())
            answer = await asyncio.get_running_loop().sock_recv(client, 1000)
            await serving
            await relay.close()
            return answer

    assert asyncio.run(run()) == b"now:x"
