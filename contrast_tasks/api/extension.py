"""The Coordinator's extension from the client's side: calls that the reference product does not have.

A Coordinator without a call answers with CoordinatorFailed, whose `is_unknown` tells so.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc

from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.api.audit_log import AuditEntry, parse_entry
from contrast_tasks.api.calls import call_unary
from contrast_tasks.api.errors import CoordinatorFailed
from contrast_tasks.api.userapi import EXTENSION


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorStatus:
    """What a Coordinator tells about itself.

    state: `initial`, `active`, `final`, `recovery`, `stale`, `inconsistent` or `unknown`; reason: why nothing is served.
    transition_hash (32 bytes) and both ends of life are None unless a state is served. peers_serving: other Coordinators
    on the same store; None if that cannot be found out.
    """

    version: str
    state: str
    reason: str
    generation: int
    transition_hash: bytes | None
    root_ca_not_after: datetime | None
    mesh_ca_not_after: datetime | None
    peers_serving: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditLog:
    """What a Coordinator recorded.

    unwritten: members of events that its store does not have yet. transaction_key_spki: signs the entries; DER.
    """

    entries: tuple[AuditEntry, ...]
    unwritten: tuple[Mapping[str, Any], ...]
    transaction_key_spki: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadChange:
    """One workload, by its first SAN; policies in hex, old_policy "" if it is added, new_policy "" if it is removed."""

    name: str
    old_policy: str
    new_policy: str
    old_sans: tuple[str, ...]
    new_sans: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestPlan:
    """What SetManifest with the same request of the same caller would do.

    current, next_transition: hashes, 32 bytes, zeros for none. refusal: why it would be refused, "" if it would not; reason: the
    word for machines. owners: digests in hex; approved_by, not_approved_by: those of the manifest in force, of which
    approvals_wanted have to approve; the next update needs next_approvals_wanted. restart: names of workloads whose certificates would be of the mesh CA before.
    """

    current_transition: bytes
    next_transition: bytes
    refusal: str
    reason: str
    is_unchanged: bool
    workloads: tuple[WorkloadChange, ...]
    are_reference_values_changed: bool
    owners_added: tuple[str, ...]
    owners_removed: tuple[str, ...]
    are_seedshare_owners_changed: bool
    locks_out_caller: bool
    is_final: bool
    rotates_mesh_ca: bool
    restart: tuple[str, ...]
    lost_secret_ids: tuple[str, ...]
    approvals_wanted: int
    approved_by: tuple[str, ...]
    not_approved_by: tuple[str, ...]
    next_approvals_wanted: int


def get_status(channel: grpc.Channel, timeout_s: float) -> CoordinatorStatus:
    """Return what the Coordinator is doing; anybody may ask. Raises CoordinatorFailed, CoordinatorUnreachable."""
    answer = call_unary(
        channel,
        (EXTENSION,),
        "GetStatus",
        ext.GetStatusRequest(),
        ext.GetStatusResponse.FromString,
        timeout_s=timeout_s,
    )
    return CoordinatorStatus(
        version=answer.Version,
        state=answer.State,
        reason=answer.Reason,
        generation=answer.Generation,
        transition_hash=answer.TransitionHash or None,
        root_ca_not_after=_moment(answer.RootCANotAfter),
        mesh_ca_not_after=_moment(answer.MeshCANotAfter),
        peers_serving=answer.PeersServing if answer.HasField("PeersServing") else None,
    )


def get_audit_log(channel: grpc.Channel, timeout_s: float, *, start: int = 0) -> AuditLog:
    """Return the audit log from entry `start` on; the channel's client key must be an owner's.

    Raises NotAuthorised, CoordinatorNotReady, CoordinatorFailed, also for an answer that has not the form of a log.
    """
    answer = call_unary(
        channel,
        (EXTENSION,),
        "GetAuditLog",
        ext.GetAuditLogRequest(From=start),
        ext.GetAuditLogResponse.FromString,
        timeout_s=timeout_s,
    )
    try:
        unwritten = tuple(json.loads(event) for event in answer.Unwritten)
        if not all(isinstance(event, dict) for event in unwritten):
            raise CoordinatorFailed("the coordinator's audit log is malformed")
        return AuditLog(
            entries=tuple(parse_entry(each.Content, each.Signature) for each in answer.Entries),
            unwritten=unwritten,
            transaction_key_spki=answer.TransactionKey,
        )
    except ValueError as err:
        raise CoordinatorFailed("the coordinator's audit log is malformed") from err


def plan_manifest(
    channel: grpc.Channel,
    manifest: bytes,
    policies: Sequence[bytes],
    timeout_s: float,
    *,
    signatures: Sequence[bytes] = (),
) -> ManifestPlan:
    """Return what setting this manifest would do, without doing it; arguments as of `userapi.set_manifest`.

    Raises RequestRefused for a manifest that the Coordinator cannot parse, CoordinatorNotReady, CoordinatorFailed.
    """
    answer = call_unary(
        channel,
        (EXTENSION,),
        "PlanManifest",
        pb.SetManifestRequest(
            Manifest=manifest,
            Policies=policies,
            Signature=b"".join(signatures[:1]),
            Approvals=signatures[1:],
        ),
        ext.PlanManifestResponse.FromString,
        timeout_s=timeout_s,
    )
    return plan_of(answer)


def plan_of(answer: ext.PlanManifestResponse) -> ManifestPlan:
    """Return what an answer says."""
    return ManifestPlan(
        current_transition=answer.CurrentTransitionHash,
        next_transition=answer.NextTransitionHash,
        refusal=answer.Refusal,
        reason=answer.RefusalReason,
        is_unchanged=answer.Unchanged,
        workloads=tuple(
            WorkloadChange(
                name=each.Name,
                old_policy=each.OldPolicy,
                new_policy=each.NewPolicy,
                old_sans=tuple(each.OldSANs),
                new_sans=tuple(each.NewSANs),
            )
            for each in answer.Workloads
        ),
        are_reference_values_changed=answer.ReferenceValuesChanged,
        owners_added=tuple(answer.OwnersAdded),
        owners_removed=tuple(answer.OwnersRemoved),
        are_seedshare_owners_changed=answer.SeedshareOwnersChanged,
        locks_out_caller=answer.LocksOutCaller,
        is_final=answer.Final,
        rotates_mesh_ca=answer.RotatesMeshCA,
        restart=tuple(answer.Restart),
        lost_secret_ids=tuple(answer.LostWorkloadSecretIDs),
        approvals_wanted=answer.ApprovalsWanted,
        approved_by=tuple(answer.ApprovedBy),
        not_approved_by=tuple(answer.NotApprovedBy),
        next_approvals_wanted=answer.NextApprovalsWanted,
    )


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
