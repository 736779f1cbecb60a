"""Refusals: what a peer is told about an error."""

import grpc

from contrast_tasks.api.errors import (
    REASON_CONFLICT,
    REASON_INCONSISTENT,
    REASON_NO_MANIFEST,
    REASON_RECOVERY,
    REASON_ROLLED_BACK,
)
from contrast_tasks.errors import ContrastError
from coordinator.history import HistoryCorrupt
from coordinator.state import (
    ConcurrentUpdate,
    HistoryInconsistent,
    InRecovery,
    NoManifest,
    RolledBack,
)
from coordinator.store.base import StoreConflict, StoreError


class Refusal(ContrastError):
    """A status code and a text that may be shown to the peer; `reason` is one word for machines."""

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


# Class of the error, status code, text for the peer, reason. "" is the error's own text, which holds no path.
# Source: docs/internals/coordinator.md 2.3 with our deviations.
_UNMET = grpc.StatusCode.FAILED_PRECONDITION
_CONCURRENT = (_UNMET, "coordinator state was updated concurrently", REASON_CONFLICT)
_TOLD: tuple[tuple[type[ContrastError], tuple[grpc.StatusCode, str, str]], ...] = (
    (NoManifest, (_UNMET, "no manifest configured", REASON_NO_MANIFEST)),
    (InRecovery, (_UNMET, "coordinator is in recovery mode", REASON_RECOVERY)),
    (HistoryInconsistent, (_UNMET, "", REASON_INCONSISTENT)),
    (RolledBack, (_UNMET, "", REASON_ROLLED_BACK)),
    (ConcurrentUpdate, _CONCURRENT),
    (StoreConflict, _CONCURRENT),
    (HistoryCorrupt, (grpc.StatusCode.DATA_LOSS, "", "")),
    (
        StoreError,
        (grpc.StatusCode.INTERNAL, "the coordinator's store cannot be read or written", ""),
    ),
    (ContrastError, (grpc.StatusCode.INTERNAL, "internal error", "")),
)


def refusal_from(error: ContrastError) -> Refusal:
    """Return what the peer is told about an error; the rest goes to the log only."""
    if isinstance(error, Refusal):
        return error
    code, text, reason = next(told for kind, told in _TOLD if isinstance(error, kind))
    return Refusal(code, text or str(error), reason=reason)
