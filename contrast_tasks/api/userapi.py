"""The user API from the client's side: set a manifest, read the history, recover."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.calls import call_unary

# The package was renamed in later reference products; the path is part of the wire protocol.
SERVICES = ("userapi.UserAPI", "edgelesssys.contrast.userapi.UserAPI")


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedShare:
    """The seed under one owner's key: hex of the PKCS#1 DER public key, RSA-OAEP ciphertext."""

    public_key_hex: str
    encrypted_seed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedShares:
    """The seed share document of the first set; `salt` is 32 bytes and public."""

    shares: tuple[SeedShare, ...]
    salt: bytes

    def to_json(self) -> dict[str, Any]:
        """Return the form of seed-shares.json, byte strings in standard base64."""
        return {
            "SeedShares": [
                {
                    "PublicKey": share.public_key_hex,
                    "EncryptedSeed": base64.b64encode(share.encrypted_seed).decode(),
                }
                for share in self.shares
            ],
            "salt": base64.b64encode(self.salt).decode(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SetManifestResult:
    """Certificates of the new generation (PEM); seed shares only from the call that set the first manifest."""

    root_ca_pem: bytes
    mesh_ca_pem: bytes
    seed_shares: SeedShares | None

    @property
    def seed_shares_doc(self) -> dict[str, Any] | None:
        """Return the JSON form of the seed shares, None when there are none."""
        return None if self.seed_shares is None else self.seed_shares.to_json()


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestTransition:
    """The hash (32 bytes) of the newest transition and the Coordinator's signature over it (ASN.1 DER)."""

    transition_hash: bytes
    signature: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestHistory:
    """Every manifest, oldest first, and every policy any of them names."""

    manifests: tuple[bytes, ...]
    policies: tuple[bytes, ...]
    root_ca_pem: bytes
    mesh_ca_pem: bytes
    latest_transition: LatestTransition | None


def set_manifest(
    channel: grpc.Channel,
    manifest: bytes,
    policies: Sequence[bytes],
    timeout_s: float,
    *,
    previous_transition_hash: bytes = b"",
) -> SetManifestResult:
    """Make `manifest` the one in force and return the certificates that belong to it.

    manifest: the exact bytes of manifest.json; policies: one document per policy hash in it.
    previous_transition_hash: 32 bytes the Coordinator must stand at (32 zeros: no manifest yet); empty skips the check.
    Raises NotAuthorised, RequestRefused, CoordinatorNotReady or CoordinatorFailed.
    """
    request = pb.SetManifestRequest(
        Manifest=manifest, Policies=policies, PreviousTransitionHash=previous_transition_hash
    )
    response = call_unary(
        channel,
        SERVICES,
        "SetManifest",
        request,
        pb.SetManifestResponse.FromString,
        timeout_s=timeout_s,
    )
    document = response.SeedSharesDoc if response.HasField("SeedSharesDoc") else None
    return SetManifestResult(
        root_ca_pem=response.RootCA,
        mesh_ca_pem=response.MeshCA,
        seed_shares=None if document is None else _seed_shares(document),
    )


def get_manifests(channel: grpc.Channel, timeout_s: float) -> ManifestHistory:
    """Return the whole history and the certificates of the manifest in force.

    Raises CoordinatorNotReady (reason `no-manifest` before the first set) or CoordinatorFailed.
    """
    response = call_unary(
        channel,
        SERVICES,
        "GetManifests",
        pb.GetManifestsRequest(),
        pb.GetManifestsResponse.FromString,
        timeout_s=timeout_s,
    )
    latest = response.LatestTransition if response.HasField("LatestTransition") else None
    return ManifestHistory(
        manifests=tuple(response.Manifests),
        policies=tuple(response.Policies),
        root_ca_pem=response.RootCA,
        mesh_ca_pem=response.MeshCA,
        latest_transition=None
        if latest is None
        else LatestTransition(transition_hash=latest.TransitionHash, signature=latest.Signature),
    )


def recover(
    channel: grpc.Channel, *, seed: bytes, salt: bytes, timeout_s: float, force: bool = False
) -> None:
    """Bring a restarted Coordinator back; the channel's client key must be a seed share owner's.

    seed: 64 bytes as decrypted from a share; salt: 32 bytes. The mesh CA changes: workloads must restart.
    """
    call_unary(
        channel,
        SERVICES,
        "Recover",
        pb.RecoverRequest(Seed=seed, Salt=salt, Force=force),
        pb.RecoverResponse.FromString,
        timeout_s=timeout_s,
    )


def _seed_shares(document: pb.SeedShareDocument) -> SeedShares:
    return SeedShares(
        shares=tuple(
            SeedShare(public_key_hex=share.PublicKey, encrypted_seed=share.EncryptedSeed)
            for share in document.SeedShares
        ),
        salt=document.salt,
    )
