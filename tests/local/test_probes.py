"""Probes against small servers that answer, refuse, hang and lie."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.guest.secret_files import SecretFiles, write_credentials
from contrast_tasks.local.messages import Endpoint, Probe
from contrast_tasks.local.probes import ProbedContainer, succeeds, until_failure, until_success
from tests.fakes.mesh_pki import Authority


async def nothing(command: object) -> int:
    raise AssertionError(command)


async def here(path: str) -> bool:
    return Path(path).is_file()  # noqa: ASYNC240  # one stat call


def container(
    run: Callable[[tuple[str, ...]], Awaitable[int]] = nothing, *, serves: bool = True
) -> ProbedContainer:
    return ProbedContainer(run=run, has_file=here, serves=lambda _port: serves)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(answer: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return serve


async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[Endpoint]:
    """Serve on a free port; every connection is closed when the context ends."""
    connections: list[asyncio.Task[None]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.ensure_future(handle(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await asyncio.gather(*connections)
        await server.wait_closed()


def ask(serve: Serve, context: ssl.SSLContext | None = None, **probe: object) -> bool:
    async def run() -> bool:
        async with serving(serve, context) as endpoint:
            wanted = Probe(endpoints=(endpoint,), **{"timeout_s": 5.0, **probe})  # type: ignore[arg-type]  # a table of fields
            return await succeeds(wanted, container())

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.0 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 302 Found\r\n\r\n", True),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", False),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"", False),
    ],
)
def test_an_http_probe_wants_a_status_from_200_to_399(answer: bytes, expected: bool) -> None:
    assert ask(answering(answer), kind="http") is expected


def test_an_http_probe_sends_path_and_headers() -> None:
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    ask(serve, kind="http", path="/up?deep=1", headers=(("Host", "shop"), ("X-Probe", "1")))

    assert seen[0].startswith(b"GET /up?deep=1 HTTP/1.1\r\nHost: shop\r\n")
    assert b"X-Probe: 1\r\n" in seen[0]


def test_a_server_that_says_nothing_fails_the_probe_in_time() -> None:
    assert not ask(silent, kind="http", timeout_s=0.05)


def test_an_https_probe_does_not_judge_the_certificate(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    files = SecretFiles.below(tmp_path)
    write_credentials(files, Authority().issue(key.public_key()), key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert_chain, files.key)

    assert ask(answering(b"HTTP/1.1 200 OK\r\n\r\n"), context, kind="https")
    assert not ask(answering(b"HTTP/1.1 200 OK\r\n\r\n"), kind="https", timeout_s=0.05)


def test_a_tcp_probe_wants_every_endpoint_to_accept() -> None:
    async def run() -> tuple[bool, bool]:
        async with serving(silent) as there:
            gone = ("127.0.0.2", there[1])
            both = await succeeds(Probe(kind="tcp", endpoints=(there, gone)), container())
            one = await succeeds(Probe(kind="tcp", endpoints=(there,)), container())
        return one, both

    assert asyncio.run(run()) == (True, False)


@pytest.mark.parametrize(("status", "expected"), [(0, True), (1, False), (-9, False)])
def test_an_exec_probe_wants_status_0(status: int, expected: bool) -> None:
    async def command(words: tuple[str, ...]) -> int:
        assert words == ("check", "it")
        return status

    probe = Probe(kind="exec", command=("check", "it"))

    assert asyncio.run(succeeds(probe, container(command))) is expected


def test_a_file_probe_costs_no_process(tmp_path: Path) -> None:
    probe = Probe(kind="exec", command=("test", "-f", str(tmp_path / "ready")))

    before = asyncio.run(succeeds(probe, container()))
    (tmp_path / "ready").touch()

    assert (before, asyncio.run(succeeds(probe, container()))) == (False, True)


def test_a_probe_is_asked_until_it_succeeds() -> None:
    answers = [1, 1, 0]

    async def command(_words: tuple[str, ...]) -> int:
        return answers.pop(0)

    asyncio.run(until_success(Probe(kind="exec", command=("check",)), container(command)))

    assert answers == []


def test_only_failures_in_a_row_count() -> None:
    answers = [1, 0, 1, 1, 0, 1, 1, 1]

    async def command(_words: tuple[str, ...]) -> int:
        return answers.pop(0)

    probe = Probe(kind="exec", command=("check",), period_s=0, failures=3)
    asyncio.run(until_failure(probe, container(command)))

    assert answers == []


def test_a_port_that_only_a_proxy_accepts_does_not_count() -> None:
    async def run() -> tuple[bool, bool]:
        async with serving(silent) as there:
            probe = Probe(kind="tcp", endpoints=(there,))
            return await succeeds(probe, container(serves=False)), await succeeds(
                probe, container()
            )

    assert asyncio.run(run()) == (False, True)
