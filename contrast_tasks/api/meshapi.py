"""The mesh API from the workload's side: certificates for the key of our attested TLS certificate."""

from dataclasses import dataclass, field

import grpc

from contrast_tasks.api import meshapi_pb2 as pb
from contrast_tasks.api.calls import call_unary

SERVICES = ("meshapi.MeshAPI", "edgelesssys.contrast.meshapi.MeshAPI")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshCert:
    """A workload's certificates in PEM, and 64 secret bytes if its policy entry has a secret id.

    cert_chain_pem: the leaf, then the intermediate that the root CA signed.
    """

    mesh_ca_pem: bytes
    cert_chain_pem: bytes
    root_ca_pem: bytes
    workload_secret: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryKeys:
    """What a Coordinator gives to another. seed: 64 bytes in practice; salt: 32; mesh_ca_key_pem: SEC1.

    manifest: in force there; transition_hash: its transition (32 bytes), empty from the reference product's Coordinators.
    """

    seed: bytes = field(repr=False)
    salt: bytes
    mesh_ca_key_pem: bytes = field(repr=False)
    manifest: bytes
    transition_hash: bytes


def recover(channel: grpc.Channel, timeout_s: float) -> RecoveryKeys:
    """Return the keys of a Coordinator that serves; our evidence must be that of a Coordinator of its manifest.

    Raises NotAuthorised, CoordinatorNotReady, CoordinatorFailed.
    """
    response = call_unary(
        channel,
        SERVICES,
        "Recover",
        pb.RecoverRequest(),
        pb.RecoverResponse.FromString,
        timeout_s=timeout_s,
    )
    return RecoveryKeys(
        seed=response.Seed,
        salt=response.Salt,
        mesh_ca_key_pem=response.MeshCAKey,
        manifest=response.LatestManifest,
        transition_hash=response.TransitionHash,
    )


def new_mesh_cert(channel: grpc.Channel, timeout_s: float) -> MeshCert:
    """Return a fresh certificate for the client key of the channel's attested TLS connection.

    Raises NotAuthorised if the manifest lacks our policy, CoordinatorNotReady if a new connection may help,
    CoordinatorFailed.
    """
    response = call_unary(
        channel,
        SERVICES,
        "NewMeshCert",
        pb.NewMeshCertRequest(),
        pb.NewMeshCertResponse.FromString,
        timeout_s=timeout_s,
    )
    return MeshCert(
        mesh_ca_pem=response.MeshCACert,
        cert_chain_pem=response.CertChain,
        root_ca_pem=response.RootCACert,
        workload_secret=response.WorkloadSecret or None,
    )
