"""The extension's methods, which the reference product does not have, as functions of request, caller and guard.

They are served beside the user API. Each takes one snapshot of the state. Source: docs/internals/coordinator.md 14.
"""

import threading
import time
from collections.abc import Callable

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contrast_tasks import __version__
from contrast_tasks.api import ext_pb2 as ext
from contrast_tasks.atls.types import PeerIdentity
from coordinator.authorisation import authorise_owner
from coordinator.presence import Presence
from coordinator.state import Guard
from coordinator.store.base import StoreError

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


def _count(presence: Presence) -> int | None:
    try:
        return len(presence.others())
    except StoreError:
        return None
