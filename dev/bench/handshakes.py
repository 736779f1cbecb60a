"""Mutual attested handshakes per second and core of a server, compared with plain TLS 1.3 of the same libraries.

Evidence has the form of real hardware: reports signed with P-384, a certificate chain, a revocation list. Signing is the
hardware's work, so its time is subtracted on both sides.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from OpenSSL import SSL

from contrast_tasks.atls.certificate import make_certificate, new_key
from contrast_tasks.atls.server import serve
from contrast_tasks.atls.session import READ_BYTES, ClientSession, ServerSession
from contrast_tasks.atls.types import Validators, utc_now
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.evidence_documents import Issuer
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.manifest.reference_values import defaults_for
from dev.bench.signatures import SIGNED_BYTES, bare, microseconds
from dev.bench.timing import Measured, environment, python
from dev.checkout import ROOT

_HOST_DATA = bytes(range(32))
_ROUNDS, _PER_ROUND = 70, 10
_LOOPBACK_S = 3.0
_CLIENTS = 2


@dataclass(kw_only=True)
class Hardware:
    """An issuer that measures its own processor time, `spent_s`."""

    issuer: Issuer
    spent_s: float = 0.0
    oid: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.oid = self.issuer.oid

    def issue(self, report_data: bytes) -> bytes:
        """Return the inner issuer's document, and add the time it took."""
        start = time.thread_time()
        document = self.issuer.issue(report_data)
        with self._lock:
            self.spent_s += time.thread_time() - start
        return document


def measure_handshakes(folder: Path) -> Iterator[Measured]:
    """Yield the measurements of handshakes; ratios are to plain handshakes."""
    place = folder / "handshakes"
    SimulatedProcessor.load_or_create(place)
    plain, attested = _best(_plain_contexts(), _attested_sessions(place))
    for side in ("server", "client"):
        yield _rate(f"plain mutual TLS 1.3, {side} per core", 1 / plain[side])
    yield _rate(
        "mutual attested, server per core",
        1 / attested["server"],
        1 / plain["server"],
        budget="at least 450",
    )
    yield _rate("mutual attested, client per core", 1 / attested["client"], 1 / plain["client"])
    yield from _beside_its_parts(plain["server"], attested["server"])
    base, base_per_core = _over_loopback("plain", place)
    yield _rate("plain, loopback", base)
    yield _rate("plain, loopback, server per core", base_per_core)
    rate, per_core = _over_loopback("attested", place)
    yield _rate("attested, loopback", rate, base)
    yield _rate("attested, loopback, server per core", per_core, base_per_core)


def _beside_its_parts(plain_s: float, attested_s: float) -> Iterator[Measured]:
    """Yield the server's side beside what it cannot be without: plain TLS, and the signatures that TLS does not know.

    These are the peer's report (P-384), its certificate, and our own certificate (both P-256).
    """
    key, content = new_key(), bytes(SIGNED_BYTES)
    sha256 = ec.ECDSA(SHA256())
    signatures_us = (
        microseconds(bare(ec.SECP384R1(), SHA384()))
        + microseconds(bare(ec.SECP256R1(), SHA256()))
        + microseconds(lambda: key.sign(content, sha256))
    )
    parts_us = plain_s * 1e6 + signatures_us
    yield Measured(name="plain TLS and bare signatures, server", value=parts_us, unit="us")
    yield Measured(
        name="mutual attested, server",
        value=attested_s * 1e6,
        unit="us",
        ratio=attested_s * 1e6 / parts_us,
        budget="1.15 x",
    )


def _rate(name: str, value: float, base: float | None = None, *, budget: str = "") -> Measured:
    ratio = value / base if base else None
    return Measured(name=name, value=value, unit="per s", ratio=ratio, budget=budget)


class Side(Protocol):
    """One side of a handshake in memory."""

    def advance(self, received: bytes = b"") -> bool:
        """Continue with the received bytes; return whether the handshake is complete."""

    def pending(self) -> bytes:
        """Return the bytes to send."""


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Makes the two sides of a new handshake; `hardware_s` returns the time spent in the hardware of both so far."""

    server: Callable[[], Side]
    client: Callable[[], Side]
    hardware_s: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0)


def _best(*makers: Maker) -> list[dict[str, float]]:
    """Return each maker's processor seconds of a handshake for "server" and "client", without the hardware's: the best round.

    Rounds are short and take turns: what else the machine does must not be in all rounds of one maker only.
    """
    for maker in makers:
        _round(maker, _PER_ROUND)
    turns = [[_round(maker, _PER_ROUND) for maker in makers] for _ in range(_ROUNDS)]
    return [
        {side: min(cost[side] for cost in costs) for side in ("server", "client")}
        for costs in zip(*turns, strict=True)
    ]


def _round(maker: Maker, count: int) -> dict[str, float]:
    spent = {"server": 0.0, "client": 0.0}
    before = maker.hardware_s()

    def timed(side: str, step: Callable[[], Any]) -> Any:
        start = time.thread_time()
        try:
            return step()
        finally:
            spent[side] += time.thread_time() - start

    def turn(side: str, session: Side, received: bytes) -> tuple[bool, bytes]:
        return timed(side, lambda: (session.advance(received), session.pending()))  # type: ignore[no-any-return]  # what the step returns

    for _ in range(count):
        server, client = timed("server", maker.server), timed("client", maker.client)
        done, to_server = turn("client", client, b"")
        ready, finished = False, done
        while not (ready and finished):
            ready, to_client = turn("server", server, to_server)
            finished, to_server = turn("client", client, to_client)
    hardware = (now - then for now, then in zip(maker.hardware_s(), before, strict=True))
    return {
        side: (spent_s - hardware_s) / count
        for (side, spent_s), hardware_s in zip(spent.items(), hardware, strict=True)
    }


def _attested_sessions(place: Path) -> Maker:
    processor = SimulatedProcessor.load(place)
    ours, theirs = (Hardware(issuer=processor.issuer(_HOST_DATA)) for _ in range(2))
    validators = _validators(processor)
    return Maker(
        server=partial(
            ServerSession,
            key=new_key(),
            issuer=ours,
            require_client=lambda: (validators, None),
            clock=utc_now,
        ),
        client=partial(
            ClientSession,
            validators=validators,
            issuer=theirs,
            client_key=new_key(),
            clock=utc_now,
        ),
        hardware_s=lambda: (ours.spent_s, theirs.spent_s),
    )


def _validators(processor: SimulatedProcessor) -> Validators:
    values = defaults_for("local", local_root_sha256_hex=processor.root_sha256_hex)
    return validators_for(Manifest(policies={}, reference_values=values))


class _Plain:
    """One side of plain TLS, with the interface of attested sessions."""

    def __init__(self, context: SSL.Context, *, serves: bool) -> None:
        self._connection = SSL.Connection(context, None)
        if serves:
            self._connection.set_accept_state()
        else:
            self._connection.set_connect_state()

    def advance(self, received: bytes = b"") -> bool:
        if received:
            self._connection.bio_write(received)
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def pending(self) -> bytes:
        parts = []
        while True:
            try:
                parts.append(self._connection.bio_read(READ_BYTES))
            except SSL.WantReadError:
                return b"".join(parts)


def _plain_contexts() -> Maker:
    server, client = _plain_context(SSL.TLS_SERVER_METHOD), _plain_context(SSL.TLS_CLIENT_METHOD)
    return Maker(
        server=lambda: _Plain(server, serves=True), client=lambda: _Plain(client, serves=False)
    )


def _plain_context(method: int) -> SSL.Context:
    """Return a context with a new P-256 key and certificate, that accepts any certificate of the peer."""
    context = SSL.Context(method)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_options(SSL.OP_NO_TICKET)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    key = new_key()
    context.use_certificate(make_certificate(key, None, b"", utc_now()))
    context.use_privatekey(key)
    return context


def _over_loopback(kind: str, place: Path) -> tuple[float, float]:
    """Return handshakes per second, and per second of the server's processor time, with clients in this process."""
    maker = _plain_contexts() if kind == "plain" else _attested_sessions(place)
    server = subprocess.Popen(
        python("-m", "dev.bench.handshakes", kind, str(place)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        port = int(server.stdout.readline())

        def spent_s() -> float:
            server.stdin.write("\n")  # type: ignore[union-attr]  # a pipe
            server.stdin.flush()  # type: ignore[union-attr]  # a pipe
            return float(server.stdout.readline())  # type: ignore[union-attr]  # a pipe

        _shake(port, maker)
        before, start = spent_s(), time.perf_counter()
        with ThreadPoolExecutor(_CLIENTS) as pool:
            counts = list(
                pool.map(lambda _: _shake_until(port, maker, start + _LOOPBACK_S), range(_CLIENTS))
            )
        took = time.perf_counter() - start
        return sum(counts) / took, sum(counts) / (spent_s() - before)
    finally:
        server.stdin.close()
        server.wait(timeout=30)
        server.stdout.close()


def _shake_until(port: int, maker: Maker, end: float) -> int:
    count = 0
    while time.perf_counter() < end:
        _shake(port, maker)
        count += 1
    return count


def _shake(port: int, maker: Maker) -> None:
    client = maker.client()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as wire:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        done = client.advance()
        wire.sendall(client.pending())
        while not done:
            done = client.advance(wire.recv(READ_BYTES))
            wire.sendall(client.pending())
        # The server has verified the client when it sends its settings or closes.
        wire.shutdown(socket.SHUT_WR)
        while wire.recv(READ_BYTES):
            pass


def _serve(kind: str, place: Path) -> None:
    """Serve until stdin ends; answer each line with the processor time so far, without the hardware's."""
    if kind == "plain":
        listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        threading.Thread(target=_serve_plain, args=(listener,), daemon=True).start()
        _answer(listener.getsockname()[1], lambda: 0.0)
        return
    processor = SimulatedProcessor.load(place)
    hardware, validators = Hardware(issuer=processor.issuer(_HOST_DATA)), _validators(processor)
    with serve(
        lambda _server, _registry: None,
        listen=("127.0.0.1", 0),
        issuer=hardware,
        require_client=lambda: (validators, None),
    ) as server:
        _answer(server.port, lambda: hardware.spent_s)


def _answer(port: int, hardware_s: Callable[[], float]) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        sys.stdout.write(f"{time.process_time() - hardware_s()}\n")
        sys.stdout.flush()


def _serve_plain(listener: socket.socket) -> None:
    context = _plain_context(SSL.TLS_SERVER_METHOD)
    while True:
        wire, _ = listener.accept()
        with wire:
            side = _Plain(context, serves=True)
            while received := wire.recv(READ_BYTES):
                done = side.advance(received)
                wire.sendall(side.pending())
                if done:
                    break


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
