"""The mesh API's methods: certificates for workloads, and the keys for other Coordinators, whose evidence the handshake accepted.

The state that the evidence was judged by also answers: it is captured when the handshake begins and kept
with the connection. Source: docs/internals/coordinator.md 3.2, 3.3, 6.2, 7.3, 7.4.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.api import meshapi_pb2 as pb
from contrast_tasks.api.errors import (
    REASON_ARGUMENT,
    REASON_CA_ENDED,
    REASON_NOT_IN_MANIFEST,
    REASON_OUTDATED,
)
from contrast_tasks.atls.types import Evidence, PeerIdentity
from contrast_tasks.attestation.pki import der
from contrast_tasks.manifest.difference import name_of
from coordinator.ca import BadKey, Extension, MeshCaEnded
from coordinator.refusal import Refusal
from coordinator.state import Guard, State

if TYPE_CHECKING:
    from contrast_tasks.manifest.model import PolicyEntry

_log = logging.getLogger("coordinator.meshapi")

# Workload secret id as upstream; the other two are ours (docs/internals/coordinator.md 7.3).
OID_WORKLOAD_SECRET_ID = "1.3.9901.3.1"  # noqa: S105  # an object identifier
OID_POLICY_HASH = "1.3.9901.3.2"
OID_TRANSITION_HASH = "1.3.9901.3.3"

# The argument is the verdict of this process' validators, whose type attested TLS does not know.
Claims = Callable[[Any], Iterable[Extension]]
"""Returns the claims of accepted evidence as certificate extensions."""


def new_mesh_cert(
    _request: pb.NewMeshCertRequest,
    identity: PeerIdentity,
    guard: Guard,
    *,
    claims: Claims,
    with_address: bool = False,
) -> pb.NewMeshCertResponse:
    """Issue a certificate for the key of the caller's attested certificate and the names of its policy entry.

    with_address: also for the address that the caller connected from. The host's network decides on that, so it can make one
    workload pass for another by address.
    """
    state, evidence, entry = _entry_of(identity, guard)
    policy_hash = evidence.host_data
    if identity.public_key_spki is None:
        raise Refusal(REASON_NOT_IN_MANIFEST, "no attested client certificate")
    extensions = [
        *claims(evidence),
        (OID_POLICY_HASH, der.encode(der.OCTET_STRING, policy_hash)),
        (OID_TRANSITION_HASH, der.encode(der.OCTET_STRING, state.latest.transition_hash)),
    ]
    secret = b""
    if entry.workload_secret_id:
        secret_id = der.encode(der.OCTET_STRING, entry.workload_secret_id.encode())
        extensions.append((OID_WORKLOAD_SECRET_ID, secret_id))
        secret = state.engine.workload_secret(entry.workload_secret_id)
    try:
        chain = state.ca.issue(
            public_key_spki=identity.public_key_spki,
            sans=_names(entry.sans, identity.address if with_address else None),
            policy_hash=policy_hash,
            extensions=extensions,
            now=guard.now(),
        )
    except BadKey as err:
        raise Refusal(REASON_ARGUMENT, str(err)) from err
    except MeshCaEnded as err:
        raise Refusal(REASON_CA_ENDED, str(err)) from err
    guard.audit.count(
        "certificates",
        policy=policy_hash.hex(),
        workload=name_of(entry),
        transition=state.latest.transition_hash.hex(),
    )
    _log.info(
        "NewMeshCert succeeded",
        extra={"policy": policy_hash.hex(), "generation": state.generation},
    )
    return pb.NewMeshCertResponse(
        MeshCACert=state.ca.mesh_ca_pem,
        CertChain=chain,
        RootCACert=state.ca.root_ca_pem,
        WorkloadSecret=secret,
    )


def recover(
    _request: pb.RecoverRequest, identity: PeerIdentity, guard: Guard
) -> pb.RecoverResponse:
    """Return the seed and the mesh CA key to another Coordinator of the manifest in force."""
    state, evidence, entry = _entry_of(identity, guard)
    if entry.role != ROLE_COORDINATOR:
        raise Refusal(
            REASON_NOT_IN_MANIFEST,
            f"policy hash {evidence.host_data.hex()} has not the role {ROLE_COORDINATOR}",
        )
    guard.audit.record(
        "keys-given",
        transition=state.latest.transition_hash,
        policy=evidence.host_data.hex(),
        peer=identity.address or "",
    )
    _log.info("Recover succeeded", extra={"peer": identity.address, "generation": state.generation})
    return pb.RecoverResponse(
        Seed=state.engine.seed,
        Salt=state.engine.salt,
        MeshCAKey=state.ca.mesh_key_pem(),
        LatestManifest=state.manifest_bytes,
        TransitionHash=state.latest.transition_hash,
    )


def _entry_of(identity: PeerIdentity, guard: Guard) -> tuple[State, Evidence, "PolicyEntry"]:
    """Return the state that judged the caller's evidence, the evidence, and its policy's entry in the manifest."""
    state, evidence = identity.snapshot, identity.evidence
    if evidence is None or not isinstance(state, State):
        raise Refusal(REASON_NOT_IN_MANIFEST, "no attested client certificate")
    if not guard.is_current(state):
        # A certificate of the old mesh CA would be useless; a new connection gets the new state.
        raise Refusal(REASON_OUTDATED, "the manifest has changed since this connection was made")
    policy_hash = evidence.host_data.hex()
    entry = state.manifest.policies.get(policy_hash)
    if entry is None:
        raise Refusal(REASON_NOT_IN_MANIFEST, f"policy hash {policy_hash} not found in manifest")
    return state, evidence, entry


def _names(sans: Sequence[str], address: str | None) -> Sequence[str]:
    return sans if address is None or address in sans else (*sans, address)
