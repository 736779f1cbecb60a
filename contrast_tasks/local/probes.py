"""Start-up and readiness probes, repeated at short intervals until they succeed."""

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from contrast_tasks.local.messages import Endpoint, Probe

FIRST_PAUSE_S = 0.02
LONGEST_PAUSE_S = 0.25


class ProbedContainer(NamedTuple):
    """What probes ask of a container: to run a command and return its status, whether it has a file, and serves a port."""

    run: Callable[[tuple[str, ...]], Awaitable[int]]
    has_file: Callable[[str], Awaitable[bool]]
    serves: Callable[[int], bool]


def _unverified() -> ssl.SSLContext:
    # The kubelet does not verify certificates of HTTPS probes either.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def _accepts(endpoint: Endpoint) -> bool:
    try:
        _, writer = await asyncio.open_connection(*endpoint)
    except OSError:
        return False
    await _close(writer)
    return True


async def _answers(probe: Probe) -> bool:
    address, port = probe.endpoints[0]
    headers = {"Host": f"{address}:{port}", "Connection": "close", **dict(probe.headers)}
    request = f"GET {probe.path} HTTP/1.1\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    context = _unverified() if probe.kind == "https" else None
    try:
        reader, writer = await asyncio.open_connection(address, port, ssl=context)
    except OSError:
        return False
    try:
        writer.write(request.encode())
        await writer.drain()
        version, _, rest = (await reader.readline()).partition(b" ")
    except (OSError, ValueError):
        return False
    finally:
        await _close(writer)
    return version.startswith(b"HTTP/") and rest[:1] in {b"2", b"3"}


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def succeeds(probe: Probe, container: ProbedContainer) -> bool:
    """Return whether the probe succeeds at one attempt, within its time limit."""
    try:
        async with asyncio.timeout(probe.timeout_s):
            if probe.kind == "exec":
                return await _exec(probe.command, container)
            if probe.kind == "tcp":
                # A proxy in front of the application accepts every connection.
                return all(
                    [
                        await _accepts(endpoint) and container.serves(endpoint[1])
                        for endpoint in probe.endpoints
                    ]
                )
            return await _answers(probe)
    except TimeoutError:
        return False


async def _exec(command: tuple[str, ...], container: ProbedContainer) -> bool:
    # `test -f` is the most common exec probe, and starting a process for each attempt is expensive.
    if command[:2] == ("test", "-f") and len(command) == 3:  # noqa: PLR2004
        return await container.has_file(command[2])
    return await container.run(command) == 0


async def until_success(probe: Probe, container: ProbedContainer) -> None:
    """Return when the probe succeeds; there is no time limit."""
    pause_s = FIRST_PAUSE_S
    while not await succeeds(probe, container):
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 1.5, LONGEST_PAUSE_S)


async def until_failure(probe: Probe, container: ProbedContainer) -> None:
    """Return when the probe has failed as often in a row as its threshold says; it is asked once per period."""
    failed = 0
    while True:
        failed = 0 if await succeeds(probe, container) else failed + 1
        if failed >= probe.failures:
            return
        await asyncio.sleep(probe.period_s)
