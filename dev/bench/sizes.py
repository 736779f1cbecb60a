"""What 10, 1,000 and 10,000 policies cost, and what the Coordinator's memory holds beside them.

`set` and `verify` are whole commands, from start to end, against a Coordinator process with a file store; their ratio is to the same
command with the number of policies before. On a busy machine the processor time, of the command and the Coordinator together, says
more than the seconds. With 1,000 policies the Coordinator then answers clients that get no packs, keeps idle connections, and issues
CONTRAST_BENCH_CERTIFICATES certificates, 10,000 by default; what one adds is known from its memory after a part of them and at the end.
"""

import itertools
import os
import resource
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.request import Request, urlopen

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import attest, meshapi, userapi
from contrast_tasks.atls.client import AtlsChannel, connect
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.variables import BENCH_CERTIFICATES
from dev.bench.attested import Running, running_coordinator
from dev.bench.generated import write_generated
from dev.bench.timing import Measured, environment, python, run

_COUNTS = (10, 1_000, 10_000)
_COMMANDS = ("set", "verify", "verify again", "set again")
# The goal for the largest number; for memory the goal is for a thousand policies.
_SECONDS, _MEMORY = "5 s", "120 MiB"
_WITH_MEMORY = 1_000
_CONNECTIONS, _AT_ONCE = 64, 4
# What the first certificates fill, such as caches, is not growth.
_WARM_UP_PART = 4


def measure_sizes(folder: Path) -> Iterator[Measured]:
    """Yield the seconds of set and verify by the number of policies, and the memory of the Coordinator."""
    before: dict[str, float] = {}
    for count in _COUNTS:
        place = folder / f"of-{count}"
        processor = SimulatedProcessor.load_or_create(place / "processor")
        root = place / "project"
        coordinator_hex = write_generated(root, count, processor.root_sha256_hex)
        with running_coordinator(place, "state", host_data=coordinator_hex) as running:
            yield from _measure_commands(root, count, running, before)
            yield _memory(f"{count} policies", running, _MEMORY if count <= _WITH_MEMORY else "")
            if count == _WITH_MEMORY:
                yield from _measure_memory(_Callers(root, processor, running))


def _measure_commands(
    root: Path, count: int, running: Running, before: dict[str, float]
) -> Iterator[Measured]:
    for name in _COMMANDS:
        words = python(
            *("-m", "contrast_tasks", name.partition(" ")[0], "--quiet"),
            *("-c", f"127.0.0.1:{running.user}"),
        )
        began_s = _processor_s(running)
        took_s = run(words, cwd=root, env=environment()) / 1000
        yield Measured(
            name=f"{name}: {count} policies",
            value=round(took_s, 2),
            unit="s",
            ratio=took_s / before[name] if name in before else None,
            budget=_SECONDS if count == _COUNTS[-1] else "",
        )
        spent_s = round(_processor_s(running) - began_s, 2)
        yield Measured(name=f"{name}: {count} policies, processor", value=spent_s, unit="s")
        before[name] = took_s


def _processor_s(running: Running) -> float:
    """Return the processor time of all commands so far and of the Coordinator."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime + running.processor_s()


class _Callers(NamedTuple):
    """Who calls the Coordinator of a project beside its commands."""

    root: Path
    processor: SimulatedProcessor
    running: Running

    def attest(self) -> None:
        """Ask by HTTP, and take the whole history."""
        body = attest.render_request(os.urandom(attest.NONCE_BYTES))
        address = f"http://127.0.0.1:{self.running.attestation}{attest.PATH}"
        headers = {"Content-Type": attest.CONTENT_TYPE}
        with urlopen(Request(address, body, headers), timeout=60) as answer:  # loopback
            while answer.read(1 << 20):
                pass

    def get_manifests(self) -> None:
        """Get the whole history as clients of the reference product do."""
        manifest = parse_manifest((self.root / "manifest.json").read_bytes())
        validators = validators_for(manifest, coordinator_only=True)
        now = datetime.now(UTC)
        with connect("127.0.0.1", self.running.user, validators=validators, now=now) as peer:
            userapi.get_manifests(peer.channel, 60)

    def dial(self) -> AtlsChannel:
        """Connect as a workload of the manifest."""
        policies = parse_manifest((self.root / "manifest.json").read_bytes()).policies
        workload = next(name for name, entry in policies.items() if not entry.role)
        return connect(
            "127.0.0.1",
            self.running.mesh,
            validators=None,
            unverified=True,
            issuer=self.processor.issuer(bytes.fromhex(workload)),
            client_key=ec.generate_private_key(ec.SECP256R1()),
            now=datetime.now(UTC),
        )


def _memory(after: str, running: Running, budget: str = _MEMORY) -> Measured:
    value = round(running.memory_kib() / 1024, 1)
    return Measured(name=f"memory: {after}", value=value, unit="MiB", budget=budget)


def _measure_memory(callers: _Callers) -> Iterator[Measured]:
    """Yield the memory of a Coordinator of 1,000 policies after each kind of caller."""
    running, of = callers.running, f"{_WITH_MEMORY} policies"
    callers.attest()
    yield _memory(f"{of}, then HTTP attestation", running)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done in [pool.submit(callers.get_manifests) for _ in range(_AT_ONCE)]:
            done.result()
    yield _memory(f"{of}, then {_AT_ONCE} GetManifests at once", running)
    with ExitStack() as stack:
        before = running.memory_kib()
        channels = [stack.enter_context(callers.dial()).channel for _ in range(_CONNECTIONS)]
        # Idle ones that have done what they came for.
        for channel in channels:
            meshapi.new_mesh_cert(channel, 60)
        added = (running.memory_kib() - before) / _CONNECTIONS
        yield Measured(name="memory: one idle connection more", value=added, unit="KiB")
        wanted = int(os.environ.get(BENCH_CERTIFICATES, "10000"))
        some = wanted // _WARM_UP_PART
        asking = itertools.cycle(channels)

        def ask(count: int) -> float:
            for _ in range(count):
                meshapi.new_mesh_cert(next(asking), 60)
            return running.memory_kib()

        early, late = ask(some), ask(wanted - some)
        grown = (late - early) * 1024 / (wanted - some)
        yield Measured(
            name=f"memory: one certificate more, from {some} to {wanted}",
            value=grown,
            unit="bytes",
            budget="no growth",
        )
        yield _memory(f"{of}, {_CONNECTIONS} idle, {wanted} certificates", running)
