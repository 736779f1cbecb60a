"""The extension's methods, which the reference product does not have, as functions of request, caller and guard.

They are served beside the user API. Each takes one snapshot of the state. Source: docs/internals/coordinator.md 14.
"""

import threading
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks import __version__
from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.api import userapi_pb2 as pb
from contrast_tasks.atls.types import PeerIdentity
from contrast_tasks.manifest.difference import WorkloadDifference, compare, staying
from contrast_tasks.manifest.hashes import NO_TRANSITION, manifest_hash, transition_digest
from contrast_tasks.manifest.model import Manifest
from contrast_tasks.trusted_guests import ReferenceValues
from coordinator.authorisation import actor_of, approvals_of, authorise_owner, signers_of
from coordinator.presence import Presence
from coordinator.refusal import Refusal
from coordinator.sent import Sent, sent_packed, sent_plainly
from coordinator.state import Guard
from coordinator.store.base import StoreError
from coordinator.userapi import check_update, read_sent

_PEERS_KEPT_S = 5.0


class PeerCount:
    """How many others serve, looked up at most every five seconds: anybody may ask, and on a cluster the API server answers."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[float, int | None] | None = None

    def of(self, presence: Presence) -> int | None:
        """Return the number, None if the store cannot be read."""
        with self._lock:
            now = self._clock()
            if self._kept is None or now - self._kept[0] >= _PEERS_KEPT_S:
                self._kept = (now, _count(presence))
            return self._kept[1]


def get_status(
    _request: ext.GetStatusRequest, _identity: PeerIdentity, guard: Guard, *, peers: PeerCount
) -> ext.GetStatusResponse:
    """Return state, generation and lifetimes: what anybody may know, without an error in the states that serve nothing."""
    status, state = guard.snapshot()
    told = ext.GetStatusResponse(
        Version=__version__,
        State=status.name,
        Reason=status.reason,
        Generation=status.generation,
        PeersServing=peers.of(guard.presence),
    )
    if state is not None:
        told.TransitionHash = state.latest.transition_hash
        told.RootCANotAfter = int(state.ca.root_ca_not_after.timestamp())
        told.MeshCANotAfter = int(state.ca.mesh_ca_not_after.timestamp())
    return told


def get_audit_log(
    request: ext.GetAuditLogRequest, identity: PeerIdentity, guard: Guard
) -> ext.GetAuditLogResponse:
    """Return the audit log to an owner, up to this moment."""
    state = guard.current()
    authorise_owner(identity.public_key_spki, state.manifest)
    guard.audit.flush(is_last=True)
    entries = guard.audit.since(request.From)
    return ext.GetAuditLogResponse(
        Entries=[
            ext.AuditEntry(Content=each.content, Signature=each.signature) for each in entries
        ],
        Unwritten=guard.audit.unwritten(),
        TransactionKey=state.engine.transaction_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ),
    )


def plan_manifest(
    request: pb.SetManifestRequest, identity: PeerIdentity, guard: Guard
) -> ext.PlanManifestResponse:
    """Return what SetManifest with this request would do; anybody may ask, as everybody sees both manifests.

    Raises Refusal for a manifest that cannot be parsed.
    """
    return _plan(sent_plainly(request), identity, guard)


def plan_packed(
    request: ext.PackedManifest, identity: PeerIdentity, guard: Guard
) -> ext.PlanManifestResponse:
    """Return what SetPacked with this request would do, as `plan_manifest` does."""
    return _plan(sent_packed(request), identity, guard)


def _plan(sent: Sent, identity: PeerIdentity, guard: Guard) -> ext.PlanManifestResponse:
    old, manifest = read_sent(sent, guard)
    refusal = reason = ""
    try:
        check_update(sent, identity, old, manifest)
    except Refusal as err:
        refusal, reason = str(err), err.reason
    before = Manifest(policies={}, reference_values=ReferenceValues(), workload_owner_approvals=0)
    current = NO_TRANSITION
    if old is not None:
        before, current = old.manifest, old.latest.transition_hash
    approved = approvals_of(identity.public_key_spki, _signers(sent, current, before), before)
    actor = actor_of(identity.public_key_spki)
    owners, next_owners = before.workload_owner_digests, manifest.workload_owner_digests
    found = compare(before, manifest)
    return ext.PlanManifestResponse(
        CurrentTransitionHash=current,
        NextTransitionHash=transition_digest(manifest_hash(sent.manifest), current),
        Refusal=refusal,
        Unchanged=old is not None and old.manifest_bytes == sent.manifest,
        Workloads=map(_workload_change, found.workloads),
        ReferenceValuesChanged=old is not None and found.are_reference_values_changed,
        OwnersAdded=found.owners_added,
        OwnersRemoved=found.owners_removed,
        SeedshareOwnersChanged=old is not None and found.are_seedshare_owners_changed,
        LocksOutCaller=actor in owners and actor not in next_owners,
        Final=not next_owners,
        RotatesMeshCA=old is not None,
        Restart=staying(before, manifest),
        LostWorkloadSecretIDs=found.lost_secret_ids,
        RefusalReason=reason,
        ApprovalsWanted=approved.wanted,
        ApprovedBy=approved.given,
        NotApprovedBy=approved.missing,
        NextApprovalsWanted=manifest.workload_owner_approvals,
    )


def _signers(sent: Sent, current: bytes, in_force: Manifest) -> frozenset[str]:
    """Return the owners who signed, nobody if any signature is wrong: SetManifest would refuse them all."""
    try:
        return signers_of(sent.signatures, sent.manifest, current, in_force)
    except Refusal:
        return frozenset()


def _workload_change(found: WorkloadDifference) -> ext.WorkloadChange:
    change = ext.WorkloadChange(Name=found.name)
    if found.before is not None:
        change.OldPolicy, old = found.before
        change.OldSANs.extend(old.sans)
        change.OldWorkloadSecretID, change.OldRole = old.workload_secret_id, old.role
    if found.after is not None:
        change.NewPolicy, new = found.after
        change.NewSANs.extend(new.sans)
        change.NewWorkloadSecretID, change.NewRole = new.workload_secret_id, new.role
    return change


def _count(presence: Presence) -> int | None:
    try:
        return len(presence.others())
    except StoreError:
        return None
