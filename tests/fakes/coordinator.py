"""A Coordinator's guard on a memory store, tiny manifests, and callers with keys; typed like the real things."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks.atls.types import Evidence, PeerIdentity
from contrast_tasks.errors import EvidenceRejected, UsageError
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import ReferenceValues
from coordinator.history import History
from coordinator.seedengine import SeedEngine
from coordinator.seedshares import EncryptedShare
from coordinator.state import Guard, State
from coordinator.store.base import Store, StoreError
from coordinator.store.memory import MemoryStore

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
POLICY = b"package agent_policy\n"
POLICY_HASH = hashlib.sha256(POLICY).hexdigest()
OTHER_POLICY = b"package agent_policy\n\ndefault AllowRequest := false\n"
OTHER_POLICY_HASH = hashlib.sha256(OTHER_POLICY).hexdigest()
NOBODY = PeerIdentity(public_key_spki=None, certificate_der=None, evidence=None, snapshot=None)


@dataclass
class Clock:
    """A clock that moves a second with every look."""

    moment: datetime = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment


@dataclass
class CountingBytes:
    """Randomness that never repeats and is the same in every run."""

    calls: int = 0

    def __call__(self, length: int) -> bytes:
        self.calls += 1
        return hashlib.shake_256(self.calls.to_bytes(8)).digest(length)


def make_guard(store: Store | None = None, *, force_new: bool = False) -> Guard:
    """Return a guard with a deterministic clock and the parser of tiny manifests."""
    return Guard(
        History(store if store is not None else MemoryStore()),
        parse=parse_tiny,
        now=Clock(),
        random_bytes=CountingBytes(),
        force_new=force_new,
    )


def put_tiny(guard: Guard, old: State | None, content: bytes, policy: bytes = POLICY) -> State:
    """Set a manifest of `tiny_manifest` over the state, by ENGINE, and return its state."""
    return guard.update(
        old,
        engine=ENGINE,
        manifest=parse_tiny(content),
        manifest_bytes=content,
        policies=[policy],
    )


def tiny_manifest(
    policies: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    owners: Sequence[str] = (),
    seedshare_owners: Sequence[str] = (),
    owner_keys: Sequence[str] = (),
    approvals: int = 1,
) -> bytes:
    """Return a manifest without reference values; only `parse_tiny` accepts it.

    owners: digests, owner_keys: full keys of workload owners, in hex. approvals: how many of them have to approve an update.
    """
    document = {
        "Policies": policies if policies is not None else {POLICY_HASH: {"SANs": ["web", "*"]}},
        "WorkloadOwnerKeyDigests": list(owners),
        "WorkloadOwnerPubKeys": list(owner_keys),
        "SeedshareOwnerPubKeys": list(seedshare_owners),
        "WorkloadOwnerApprovals": approvals,
    }
    return json.dumps(document).encode()


def parse_tiny(content: bytes) -> Manifest:
    """Return the manifest of `tiny_manifest` bytes; raises UsageError for everything else."""
    try:
        document = json.loads(content)
        return Manifest(
            policies={
                key: PolicyEntry(
                    sans=tuple(entry.get("SANs", ())),
                    workload_secret_id=entry.get("WorkloadSecretID", ""),
                    role=entry.get("Role", ""),
                )
                for key, entry in document["Policies"].items()
            },
            reference_values=ReferenceValues(),
            workload_owner_key_digests=tuple(document["WorkloadOwnerKeyDigests"]),
            workload_owner_pub_keys=tuple(document["WorkloadOwnerPubKeys"]),
            seedshare_owner_pub_keys=tuple(document["SeedshareOwnerPubKeys"]),
            workload_owner_approvals=document["WorkloadOwnerApprovals"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise UsageError(f"not a tiny manifest: {err}") from err


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller of the user API with a key of its own."""

    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

    @property
    def spki(self) -> bytes:
        """Return the DER SubjectPublicKeyInfo of the key."""
        public = self.key.public_key()
        return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def pkcs1_hex(self) -> str:
        """Return what a manifest lists for a seed share owner."""
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1).hex()

    @property
    def digest_hex(self) -> str:
        """Return what a manifest lists for a workload owner."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return hashlib.sha256(bytes.fromhex(self.pkcs1_hex)).hexdigest()
        return hashlib.sha256(self.spki).hexdigest()

    def decrypt(self, share: EncryptedShare) -> bytes:
        """Return the seed; raises ValueError when the share is not for this key or was changed."""
        assert isinstance(self.key, rsa.RSAPrivateKey)
        sha256 = hashes.SHA256()
        oaep = padding.OAEP(mgf=padding.MGF1(sha256), algorithm=sha256, label=b"seedshare")
        return self.key.decrypt(share.ciphertext, oaep)

    @property
    def identity(self) -> PeerIdentity:
        """Return what the transport tells about this caller."""
        return PeerIdentity(
            public_key_spki=self.spki, certificate_der=b"", evidence=None, snapshot=None
        )


def new_owner() -> Caller:
    """Return a caller with a fresh P-384 key, the kind of workload owners."""
    return Caller(key=ec.generate_private_key(ec.SECP384R1()))


def attested(spki: bytes | None, evidence: Evidence | None, snapshot: object) -> PeerIdentity:
    """Return what the transport tells about a caller of the mesh API."""
    return PeerIdentity(
        public_key_spki=spki, certificate_der=b"", evidence=evidence, snapshot=snapshot
    )


@dataclass(frozen=True, kw_only=True)
class FakeEvidence:
    """Evidence that a handshake has accepted."""

    host_data: bytes = field(default_factory=lambda: bytes.fromhex(POLICY_HASH))


class BreakingStore(MemoryStore):
    """A memory store whose n-th write (counted from 1, swaps included) fails and everything after it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.fail_at: int | None = None

    def set(self, key: str, value: bytes) -> None:
        """Store the value unless the time to fail has come."""
        self._tick(key)
        super().set(key, value)

    def compare_and_swap(self, key: str, old: bytes, new: bytes) -> None:
        """Swap unless the time to fail has come."""
        self._tick(key)
        super().compare_and_swap(key, old, new)

    def _tick(self, key: str) -> None:
        self.writes += 1
        if self.fail_at is not None and self.writes >= self.fail_at:
            raise StoreError(f"cannot write {key}: no space left on device")


FAKE_OID = "1.3.9901.2.1"


@dataclass(frozen=True, kw_only=True)
class FakeIssuer:
    """Issues documents that are host data and report data, one after the other."""

    host_data: bytes
    oid: str = FAKE_OID

    def issue(self, report_data: bytes) -> bytes:
        """Return the document."""
        return self.host_data + report_data


@dataclass(frozen=True, kw_only=True)
class FakeValidator:
    """Accepts the documents of FakeIssuer when they are bound to this connection."""

    name: str = "fake-0"
    oid: str = FAKE_OID

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> Evidence:
        """Return the evidence, EvidenceRejected for another connection's."""
        if document[32:] != report_data:
            raise EvidenceRejected("report data differ")
        return FakeEvidence(host_data=document[:32])
