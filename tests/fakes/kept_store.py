"""A store in which a Coordinator has set two manifests, and the keys of its objects."""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.api import userapi_pb2 as pb
from coordinator.state import Guard
from coordinator.store.base import Store
from coordinator.userapi import set_manifest
from tests.fakes.coordinator import (
    NOBODY,
    OTHER_POLICY,
    OTHER_POLICY_HASH,
    POLICY,
    POLICY_HASH,
    Caller,
    make_guard,
    new_owner,
    tiny_manifest,
)


@dataclass(frozen=True)
class KeptStore:
    """The Coordinator, its owner, and the hashes (hex) of transitions and manifests, the first and the newest."""

    guard: Guard
    owner: Caller
    transitions: tuple[str, ...]
    manifests: tuple[str, ...]

    @property
    def transaction_key(self) -> ec.EllipticCurvePublicKey:
        return self.guard.current().engine.transaction_key.public_key()

    def set_again(self) -> None:
        """Put one more manifest in force."""
        _set(self.guard, self.owner, {POLICY_HASH: {"SANs": ["third"]}}, POLICY)


def keep(store: Store) -> KeptStore:
    """Set two manifests, which have a policy in common, and write the audit log."""
    guard, owner = make_guard(store), new_owner()
    _set(guard, owner, {POLICY_HASH: {"SANs": ["web"]}}, POLICY)
    both = {POLICY_HASH: {"SANs": ["web"]}, OTHER_POLICY_HASH: {"SANs": ["more"]}}
    _set(guard, owner, both, POLICY, OTHER_POLICY)
    guard.audit.flush(is_last=True)
    generations = guard.current().documents.generations
    return KeptStore(
        guard=guard,
        owner=owner,
        transitions=tuple(each.transition.hex() for each in generations),
        manifests=tuple(each.manifest_hash.hex() for each in generations),
    )


def _set(
    guard: Guard, owner: Caller, policies: dict[str, dict[str, list[str]]], *contents: bytes
) -> None:
    manifest = tiny_manifest(policies, owners=[owner.digest_hex])
    caller = NOBODY if guard.status().name == "initial" else owner.identity
    set_manifest(pb.SetManifestRequest(Manifest=manifest, Policies=contents), caller, guard)
