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
