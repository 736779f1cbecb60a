"""The Coordinator under load: handshakes, certificates, and how long it is away when it is killed; its memory is in `sizes`."""

import hashlib
import itertools
import json
import math
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import meshapi, userapi
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import ContrastError
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.choose import newest_with
from dev.bench.timing import Measured, environment, python
from dev.checkout import ROOT
from tests.fakes.flood import CONNECTIONS, flood

_POLICIES = (b"package agent_policy # coordinator\n", b"package agent_policy # web\n")
_HASHES = tuple(hashlib.sha256(policy).hexdigest() for policy in _POLICIES)
_SECONDS = 3.0
_CLIENTS = 64
_WARM_UP, _CERTIFICATES = 500, 2_000


class Running(NamedTuple):
    """A Coordinator: the ports of its two APIs, of its probes and of HTTP attestation, and its process."""

    user: int
    mesh: int
    http: int
    attestation: int
    process: subprocess.Popen[str]

    def processor_s(self) -> float:
        """Return the user and system time that it has used. Source: proc(5)."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_kib(self) -> float:
        """Return its resident memory. Source: proc(5)."""
        text = Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii")
        return int(text.split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def measure_attested(folder: Path) -> Iterator[Measured]:
    """Yield the measurements of Coordinators on this machine with simulated evidence, which has the form of real one."""
    processor = SimulatedProcessor.load_or_create(folder / "processor")
    manifest = Manifest(
        policies={
            _HASHES[0]: PolicyEntry(sans=("coordinator", "*"), role="coordinator"),
            _HASHES[1]: PolicyEntry(sans=("web", "*"), workload_secret_id="web"),
        },
        reference_values=defaults_for("local", local_root_sha256_hex=processor.root_sha256_hex),
        workload_owner_pub_keys=(),
        seedshare_owner_pub_keys=(),
    )
    validators = validators_for(manifest, coordinator_only=True)
    issuer = processor.issuer(bytes.fromhex(_HASHES[1]))
    key = ec.generate_private_key(ec.SECP256R1())

    def verify(running: Running) -> AtlsChannel:
        now = datetime.now(UTC)
        return connect("127.0.0.1", running.user, validators=validators, now=now)

    def dial(running: Running) -> AtlsChannel:
        return connect(
            "127.0.0.1",
            running.mesh,
            validators=None,
            unverified=True,
            issuer=issuer,
            client_key=key,
            now=datetime.now(UTC),
        )

    def certify(running: Running) -> None:
        with dial(running) as peer:
            meshapi.new_mesh_cert(peer.channel, 30)

    def set_first(running: Running) -> None:
        content = render_manifest(manifest, newest_with("local").manifest)
        with verify(running) as peer:
            userapi.set_manifest(peer.channel, content, _POLICIES, 30)

    with running_coordinator(folder, "state") as running:
        set_first(running)
        yield from _measure_rate("attested handshakes", lambda: verify(running).close(), running)
        yield from _measure_rate(
            "NewMeshCert, handshake included", lambda: certify(running), running
        )
        yield from _measure_crowd(lambda: certify(running))
        yield from _measure_kept(lambda: dial(running), running)
        honest = (lambda: verify(running).close(), lambda: certify(running))
        yield from _measure_flood(honest, running)
    with ExitStack() as stack:
        replicas = []
        for number in range(3):
            replicas.append(stack.enter_context(running_coordinator(folder, "replicas")))
            if number == 0:
                set_first(replicas[0])
            _until_served(certify, replicas[-1:])
        replicas[0].process.kill()
        away = _until_served(certify, replicas)
        yield Measured(name="failover over three replicas", value=away, budget="3000 ms")
        began = time.perf_counter()
        again = stack.enter_context(running_coordinator(folder, "replicas"))
        _until_served(certify, [again])
        took = (time.perf_counter() - began) * 1000
        yield Measured(name="restart to serving, by a peer", value=took, budget="3000 ms")


def _until_served(certify: Callable[[Running], None], replicas: Sequence[Running]) -> float:
    """Ask each in turn until one answers, and return the milliseconds it took."""
    began = time.perf_counter()
    for running in itertools.cycle(replicas):
        with suppress(ContrastError):
            certify(running)
            break
    return (time.perf_counter() - began) * 1000


def _measure_crowd(call: Callable[[], None]) -> Iterator[Measured]:
    """Yield the times when many clients ask at once; about half of the machine's work is theirs."""

    def ask(_client: int) -> list[float]:
        times = []
        while (began := time.perf_counter()) < end:
            call()
            times.append(time.perf_counter() - began)
        return times

    end = time.perf_counter() + _SECONDS
    with ThreadPoolExecutor(_CLIENTS) as clients:
        times = [each for found in clients.map(ask, range(_CLIENTS)) for each in found]
    yield from _percentiles(f"{_CLIENTS} clients, handshake included", times)


def _measure_kept(dial: Callable[[], AtlsChannel], running: Running) -> Iterator[Measured]:
    """Yield how fast certificates are issued over connections that are kept."""
    with ExitStack() as stack:
        channels = [stack.enter_context(dial()).channel for _ in range(_CLIENTS)]
        _ask_over(channels, _WARM_UP)
        spent_s, began = running.processor_s(), time.perf_counter()
        times = _ask_over(channels, _CERTIFICATES)
        took_s = time.perf_counter() - began
        per_core = len(times) / (running.processor_s() - spent_s)
        yield Measured(name="NewMeshCert, kept", value=len(times) / took_s, unit="per s")
        yield Measured(
            name="NewMeshCert, kept, server per core",
            value=per_core,
            unit="per s",
            budget="at least 350",
        )
        yield from _percentiles(f"{_CLIENTS} clients, kept", times, budget="100 ms")


def _measure_flood(honest: Sequence[Callable[[], None]], running: Running) -> Iterator[Measured]:
    """Yield how long honest peers take while hostile connections come, and while they are held; half of the machine is theirs."""
    times = []
    with flood((running.user, running.mesh, running.http)) as is_open:
        end = math.inf
        while time.perf_counter() < end:
            for call in honest:
                began = time.perf_counter()
                call()
                times.append(time.perf_counter() - began)
            if is_open.is_set():
                end = min(end, began + _SECONDS)
    name = f"an honest peer, {CONNECTIONS} hostile connections"
    yield Measured(name=f"{name}, p50", value=sorted(times)[len(times) // 2] * 1000)
    yield Measured(name=f"{name}, longest", value=max(times) * 1000, budget="2000 ms")


def _ask_over(channels: Sequence[grpc.Channel], count: int) -> list[float]:
    """Ask for certificates over all connections at once, on each as soon as there is an answer; return the seconds each took."""
    times: list[float] = []
    rest, done = iter(range(count)), threading.Semaphore(0)

    def ask(call: Any) -> None:
        if next(rest, None) is None:
            done.release()
            return
        began = time.perf_counter()

        def note(answer: grpc.Future) -> None:
            answer.result()
            times.append(time.perf_counter() - began)
            ask(call)

        call.future(b"", timeout=60).add_done_callback(note)

    for channel in channels:
        ask(channel.unary_unary(f"/{meshapi.SERVICES[0]}/NewMeshCert"))
    for _ in channels:
        if not done.acquire(timeout=600):
            raise TimeoutError("certificates are not issued any more")
    return times


def _percentiles(name: str, times: Sequence[float], *, budget: str = "") -> Iterator[Measured]:
    ordered = sorted(times)
    for percent, wanted in ((50, ""), (99, budget)):
        value = ordered[len(ordered) * percent // 100] * 1000
        yield Measured(name=f"{name}, p{percent}", value=value, budget=wanted)


def _measure_rate(name: str, call: Callable[[], None], running: Running) -> Iterator[Measured]:
    """Yield the rate of one client that calls in sequence, and the rate that one core of the server could sustain."""
    call()
    count, spent_s, before = 0, running.processor_s(), time.perf_counter()
    while time.perf_counter() - before < _SECONDS:
        call()
        count += 1
    took_s = time.perf_counter() - before
    yield Measured(name=name, value=count / took_s, unit="per s")
    per_core = count / (running.processor_s() - spent_s)
    yield Measured(name=f"{name}, server per core", value=per_core, unit="per s")


@contextmanager
def running_coordinator(
    folder: Path, state: str, *, host_data: str = _HASHES[0]
) -> Iterator[Running]:
    """Run a Coordinator whose store is the folder `state`; host_data: its policy hash in hex."""
    addresses = [
        part for name in ("--user-api", "--mesh-api", "--http") for part in (name, "127.0.0.1:0")
    ]
    process = subprocess.Popen(
        python("-m", "coordinator", *addresses, "--state", str(folder / state)),
        cwd=ROOT,
        env=environment(
            CONTRAST_EVIDENCE=f"simulated:{folder / 'processor'}", CONTRAST_HOST_DATA=host_data
        ),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        for text in process.stderr:
            line = json.loads(text)
            if line["msg"] == "Coordinator started":
                break
        # A full pipe would block the Coordinator.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield Running(line["user_api"], line["mesh_api"], line["http"], line["http_api"], process)
    finally:
        process.terminate()
        process.wait(timeout=30)
