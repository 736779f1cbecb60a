"""The user API from the client's side: set a manifest, read the history, recover."""

import base64
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import grpc

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.calls import call_unary
from contrast_tasks.api.packs import PackedDocuments
from contrast_tasks.manifest.hashes import policy_hash_hex

# Later releases of the reference product renamed the package, and with it the path on the wire.
SERVICES = ("userapi.UserAPI", "edgelesssys.contrast.userapi.UserAPI")
EXTENSION = "contrast.ext.v1.CoordinatorExt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetManifestResult:
    """Certificates of the new manifest, in PEM.

    seed_shares: the content of seed-shares.json, for the first manifest only: for each owner's key (hex of PKCS#1 DER) the
    encrypted seed, and one salt; byte strings in standard base64.
    """

    root_ca_pem: bytes
    mesh_ca_pem: bytes
    seed_shares: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestTransition:
    """The newest transition: its hash (32 bytes) and the Coordinator's signature over the hash (ASN.1 DER)."""

    transition_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHistory:
    """All manifests, oldest first, and all policies that they name.

    What a Coordinator says that it lost: manifests are empty at the places of `lost_manifests`, which has their SHA-256;
    lost_policies: hashes in hex; lost_before: the transition (32 bytes) before the first manifest, empty if that is the first.
    """

    manifests: tuple[bytes, ...]
    policies: Collection[bytes]
    root_ca_pem: bytes
    mesh_ca_pem: bytes
    latest_transition: LatestTransition | None
    lost_manifests: Mapping[int, bytes] = field(default_factory=dict)
    lost_policies: frozenset[str] = frozenset()
    lost_before: bytes = b""

    def policies_by_hash(self) -> Iterable[tuple[str, bytes]]:
        """Return hash (hex) and bytes of each policy, to be gone through once."""
        if isinstance(self.policies, PackedDocuments):
            return self.policies.items()
        return ((policy_hash_hex(policy), policy) for policy in self.policies)

    def policy_hashes(self) -> AbstractSet[str]:
        """Return the hashes of all policies, in hex."""
        if isinstance(self.policies, PackedDocuments):
            return self.policies.hashes
        return {name for name, _ in self.policies_by_hash()}


def set_manifest(
    channel: grpc.Channel,
    manifest: bytes,
    policies: Sequence[bytes],
    timeout_s: float,
    *,
    previous_transition_hash: bytes = b"",
    signatures: Sequence[bytes] = (),
) -> SetManifestResult:
    """Put `manifest` in force and return its certificates.

    manifest: the exact bytes of manifest.json; policies: one document per policy hash in it.
    previous_transition_hash: the Coordinator's latest transition, 32 bytes (32 zeros: no manifest yet); empty skips the check.
    signatures: of owners over the next transition (ASN.1 DER); each counts as an approval, as an owner's client key does.
    Raises NotAuthorised, RequestRefused, CoordinatorNotReady or CoordinatorFailed.
    """
    request = pb.SetManifestRequest(
        Manifest=manifest,
        Policies=policies,
        PreviousTransitionHash=previous_transition_hash,
        Signature=b"".join(signatures[:1]),
        Approvals=signatures[1:],
    )
    response = call_unary(
        channel,
        SERVICES,
        "SetManifest",
        request,
        pb.SetManifestResponse.FromString,
        timeout_s=timeout_s,
    )
    return result_of(response)


def result_of(response: pb.SetManifestResponse) -> SetManifestResult:
    """Return what an answer says."""
    shares = response.SeedSharesDoc if response.HasField("SeedSharesDoc") else None
    return SetManifestResult(
        root_ca_pem=response.RootCA,
        mesh_ca_pem=response.MeshCA,
        seed_shares=None if shares is None else _seed_shares(shares),
    )


def get_manifests(channel: grpc.Channel, timeout_s: float) -> ManifestHistory:
    """Return the whole history and the certificates of the manifest in force.

    Raises CoordinatorNotReady (reason `no_manifest` before the first set) or CoordinatorFailed.
    """
    response = call_unary(
        channel,
        SERVICES,
        "GetManifests",
        pb.GetManifestsRequest(),
        pb.GetManifestsResponse.FromString,
        timeout_s=timeout_s,
    )
    lost = {entry.Index: entry.Hash for entry in response.LostManifests}
    manifests = list(response.Manifests)
    for index in sorted(lost):
        manifests.insert(index, b"")
    return ManifestHistory(
        manifests=tuple(manifests),
        lost_manifests=lost,
        lost_policies=frozenset(name.hex() for name in response.LostPolicies),
        lost_before=response.LostBefore,
        policies=tuple(response.Policies),
        root_ca_pem=response.RootCA,
        mesh_ca_pem=response.MeshCA,
        latest_transition=latest_of(response),
    )


def latest_of(
    response: pb.GetManifestsResponse | ext.GetPackedResponse,
) -> LatestTransition | None:
    """Return the newest transition of an answer, None if it has none."""
    if not response.HasField("LatestTransition"):
        return None
    latest = response.LatestTransition
    return LatestTransition(transition_hash=latest.TransitionHash, signature=latest.Signature)


def get_seed_shares(channel: grpc.Channel, timeout_s: float) -> dict[str, Any]:
    """Return the content of seed-shares.json once more; the channel's client key must be an owner's.

    Raises NotAuthorised, CoordinatorNotReady, CoordinatorFailed; `is_unknown` of the last tells that the Coordinator has no
    such call.
    """
    response = call_unary(
        channel,
        (EXTENSION,),
        "GetSeedShares",
        ext.GetSeedSharesRequest(),
        ext.GetSeedSharesResponse.FromString,
        timeout_s=timeout_s,
    )
    return _seed_shares(response.SeedSharesDoc)


def recover(
    channel: grpc.Channel,
    *,
    seed: bytes,
    salt: bytes,
    timeout_s: float,
    force: bool = False,
    known_transition: bytes = b"",
) -> None:
    """Recover a restarted Coordinator; the channel's client key must be that of a seed share owner.

    seed: 64 bytes, decrypted from a share; salt: 32 bytes. known_transition: one that the caller has seen (32 bytes), after
    which the Coordinator's must come; empty for none. The mesh CA changes, so workloads must restart.
    """
    call_unary(
        channel,
        SERVICES,
        "Recover",
        pb.RecoverRequest(Seed=seed, Salt=salt, Force=force, KnownTransition=known_transition),
        pb.RecoverResponse.FromString,
        timeout_s=timeout_s,
    )


def _seed_shares(document: pb.SeedShareDocument) -> dict[str, Any]:
    return {
        "SeedShares": [
            {"PublicKey": share.PublicKey, "EncryptedSeed": _base64(share.EncryptedSeed)}
            for share in document.SeedShares
        ],
        "salt": _base64(document.salt),
    }


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
