"""The cost of attested TLS: sequential handshakes with the user API, and certificates for workloads."""

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import meshapi, userapi
from contrast_tasks.atls.client import connect
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.manifest.codec import render_manifest
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import defaults_for
from contrast_tasks.releases.choose import newest_with
from dev.bench.timing import Measured, environment, python
from dev.checkout import ROOT

_POLICIES = (b"package agent_policy # coordinator\n", b"package agent_policy # web\n")
_HASHES = tuple(hashlib.sha256(policy).hexdigest() for policy in _POLICIES)
_SECONDS = 3.0


def measure_attested(folder: Path) -> Iterator[Measured]:
    """Yield the measurements of a Coordinator process on this machine with simulated evidence."""
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
    with _coordinator(folder) as running:
        user, mesh, pid = running

        def shake() -> None:
            now = datetime.now(UTC)
            connect("127.0.0.1", user, validators=validators, now=now).close()

        with connect("127.0.0.1", user, validators=validators, now=datetime.now(UTC)) as peer:
            userapi.set_manifest(
                peer.channel,
                render_manifest(manifest, newest_with("local").manifest),
                _POLICIES,
                30,
            )
        yield from _measure_rate("attested handshakes", shake, pid)
        issuer = processor.issuer(bytes.fromhex(_HASHES[1]))
        key = ec.generate_private_key(ec.SECP256R1())

        def certify() -> None:
            with connect(
                "127.0.0.1",
                mesh,
                validators=None,
                unverified=True,
                issuer=issuer,
                client_key=key,
                now=datetime.now(UTC),
            ) as peer:
                meshapi.new_mesh_cert(peer.channel, 30)

        yield from _measure_rate("NewMeshCert, handshake included", certify, pid)


def _measure_rate(name: str, call: Callable[[], None], pid: int) -> Iterator[Measured]:
    """Yield the rate of one client that calls in sequence, and the rate that one core of the server could sustain."""
    call()
    count, spent_s, before = 0, _processor_s(pid), time.perf_counter()
    while time.perf_counter() - before < _SECONDS:
        call()
        count += 1
    took_s = time.perf_counter() - before
    yield Measured(name=name, value=count / took_s, unit="per s")
    per_core = count / (_processor_s(pid) - spent_s)
    yield Measured(name=f"{name}, server per core", value=per_core, unit="per s")


def _processor_s(pid: int) -> float:
    """Return the user and system time that a process has used. Source: proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _coordinator(folder: Path) -> Iterator[tuple[int, int, int]]:
    """Run a Coordinator; yield the ports of user and mesh API and the process ID."""
    addresses = [
        part for name in ("--user-api", "--mesh-api", "--http") for part in (name, "127.0.0.1:0")
    ]
    process = subprocess.Popen(
        python("-m", "coordinator", *addresses, "--state", str(folder / "state")),
        cwd=ROOT,
        env=environment(
            CONTRAST_EVIDENCE=f"simulated:{folder / 'processor'}", CONTRAST_HOST_DATA=_HASHES[0]
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
        yield line["user_api"], line["mesh_api"], process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)
