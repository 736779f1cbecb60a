"""A session with a Coordinator whose answers the test chooses."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api.userapi import LatestTransition, ManifestHistory, SetManifestResult
from contrast_tasks.client.session import Session
from coordinator.ca import CertificateAuthority
from coordinator.seedengine import SeedEngine

_ENGINE = SeedEngine(bytes(64), bytes(32))


def new_authority(
    engine: SeedEngine = _ENGINE, *, issued_at: datetime | None = None
) -> CertificateAuthority:
    """Return a root CA and a mesh CA; the root key is the engine's. issued_at: of the root, by default now."""
    now = datetime.now(UTC)
    return CertificateAuthority(
        root_key=engine.root_ca_key,
        mesh_key=ec.generate_private_key(ec.SECP384R1()),
        root_serial=engine.root_ca_serial,
        root_issued_at=issued_at or now,
        now=now,
        random_bytes=secrets.token_bytes,
    )


AUTHORITY = new_authority()
# Two numbers in DER; clients do not know the key that signs transitions.
SIGNATURE = bytes.fromhex("3006020101020101")


@dataclass
class Liar:
    """A session that presents the given history."""

    manifests: tuple[bytes, ...]
    policies: tuple[bytes, ...]
    transition: bytes | None = None
    signature: bytes = SIGNATURE
    root_ca_pem: bytes = AUTHORITY.root_ca_pem
    mesh_ca_pem: bytes = AUTHORITY.mesh_ca_pem

    def set_manifest(
        self, manifest: bytes, policies: Any, previous: bytes, signatures: Any
    ) -> SetManifestResult:
        raise AssertionError

    def recover(self, *, seed: bytes, salt: bytes, force: bool) -> None:
        raise AssertionError

    def get_manifests(self) -> ManifestHistory:
        latest = self.transition
        return ManifestHistory(
            manifests=self.manifests,
            policies=self.policies,
            root_ca_pem=self.root_ca_pem,
            mesh_ca_pem=self.mesh_ca_pem,
            latest_transition=latest
            and LatestTransition(transition_hash=latest, signature=self.signature),
        )

    @contextmanager
    def connect(self, host: str, port: int, *, manifest: Any, client_key: Any) -> Iterator[Session]:
        yield self
