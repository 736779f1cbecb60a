"""A Coordinator with the seed of the known answers, workloads with certificates of its mesh CA, and curl as Vault uses it."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from contrast_tasks.api import meshapi_pb2 as pb
from coordinator.history import History
from coordinator.listener import HttpListener
from coordinator.mesh_tls import MeshTls
from coordinator.meshapi import new_mesh_cert
from coordinator.metrics import Metrics
from coordinator.quota import Quota
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, State
from coordinator.store.memory import MemoryStore
from coordinator.transit import Transit
from tests.fakes.coordinator import (
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    FakeEvidence,
    attested,
    parse_tiny,
    tiny_manifest,
)

# Seed and salt of "own vectors with real sizes"; tests/coordinator/test_seedengine.py has the keys that follow from them.
SEED, SALT = bytes(range(64)), bytes(range(32))
COORDINATOR_POLICY = b"package agent_policy # coordinator\n"
COORDINATOR_HASH = hashlib.sha256(COORDINATOR_POLICY).hexdigest()


def make_guard(now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Guard:
    """Return a guard that knows the time: OpenSSL asks the clock of the machine too."""
    return Guard(History(MemoryStore()), parse=parse_tiny, now=now)


def put(
    guard: Guard, *, ids: tuple[str, str] = ("web", "db"), sans: Any = ("coordinator",)
) -> State:
    """Set a manifest with two workloads and a Coordinator, the first one with the known seed, and return its state."""
    policies = {
        POLICY_HASH: {"SANs": ["web"], "WorkloadSecretID": ids[0]},
        OTHER_POLICY_HASH: {"SANs": ["db"], "WorkloadSecretID": ids[1]},
        COORDINATOR_HASH: {"SANs": list(sans), "Role": "coordinator"},
    }
    content = tiny_manifest(policies, owners=["00" * 32])
    old = guard._state  # the first set has none, and `current` would raise
    return guard.update(
        old,
        engine=SeedEngine(SEED, SALT) if old is None else old.engine,
        manifest=parse_tiny(content),
        manifest_bytes=content,
        policies=[POLICY, OTHER_POLICY, COORDINATOR_POLICY],
    )


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The files that an initializer leaves for a workload."""

    chain: Path
    key: Path
    mesh_ca: Path

    @property
    def words(self) -> list[str]:
        """Return curl's options for them."""
        return ["--cert", str(self.chain), "--key", str(self.key), "--cacert", str(self.mesh_ca)]


def certify(
    guard: Guard, folder: Path, policy_hash: str = POLICY_HASH, *, state: State | None = None
) -> Workload:
    """Get a certificate as the mesh API gives it, and write the files."""
    key = ec.generate_private_key(ec.SECP384R1())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    evidence = FakeEvidence(host_data=bytes.fromhex(policy_hash))
    identity = attested(spki, evidence, state or guard.current())
    answer = new_mesh_cert(pb.NewMeshCertRequest(), identity, guard, claims=lambda _: [])
    folder.mkdir(parents=True, exist_ok=True)
    files = Workload(
        chain=folder / "certChain.pem", key=folder / "key.pem", mesh_ca=folder / "mesh-ca.pem"
    )
    files.chain.write_bytes(answer.CertChain)
    files.mesh_ca.write_bytes(answer.MeshCACert)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.key.write_bytes(pem)
    return files


def start(guard: Guard, *, threads: int = 4) -> HttpListener:
    """Serve the transit engine on a free port of loopback."""
    listener = HttpListener(
        ("127.0.0.1", 0),
        Transit(guard, Metrics(), quota=Quota(per_s=0, burst=10_000)),
        threads=threads,
        option="--transit-api",
        secure=MeshTls(guard),
    )
    listener.start()
    return listener


@dataclass(frozen=True)
class Curl:
    """Asks a port as `coordinator`, the name in its certificate."""

    port: int

    def run(self, path: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Return what curl did: its standard output is the body, a newline and the status."""
        name = f"coordinator:{self.port}"
        return subprocess.run(
            [
                *("curl", "-sS", "--noproxy", "*", "--max-time", "10", "--path-as-is"),
                *("--resolve", f"{name}:127.0.0.1", "-w", "%{http_code}", *words),
                f"https://{name}{path}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, path: str, *words: str) -> tuple[int, dict[str, Any]]:
        """Return status and document of the answer."""
        done = self.run(path, *words)
        assert done.returncode == 0, done.stderr
        body, _, status = done.stdout.rpartition("\n")
        return int(status), json.loads(body or "{}")

    def put(self, path: str, document: object, *words: str) -> tuple[int, dict[str, Any]]:
        """Send a document as Vault's client does: by PUT, without saying that it is JSON."""
        return self(path, "-X", "PUT", "-H", "Content-Type:", "-d", json.dumps(document), *words)
