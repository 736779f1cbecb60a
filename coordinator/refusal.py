"""What a handler raises when it does not do what the caller asks."""

import grpc

from contrast_tasks.api.errors import (
    REASON_CONFLICT,
    REASON_INCONSISTENT,
    REASON_NO_MANIFEST,
    REASON_RECOVERY,
)
from contrast_tasks.errors import ContrastError
from coordinator.history import HistoryCorrupt
from coordinator.state import (
    ConcurrentUpdate,
    HistoryInconsistent,
    InRecovery,
    NoManifest,
)
from coordinator.store.base import StoreConflict, StoreError


class Refusal(ContrastError):
    """A status code and a text that is safe to show to the peer; `reason` is for machines."""

    def __init__(self, code: grpc.StatusCode, message: str, *, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


def refusal_from(error: ContrastError) -> Refusal:
    """Return what the peer is told about an error of state or store; paths stay in the log.

    Source of the codes: docs/internals/coordinator.md 2.3.
    """
    code, text, reason = grpc.StatusCode.INTERNAL, "internal error", ""
    match error:
        case Refusal():
            return error
        case NoManifest():
            code, text = grpc.StatusCode.FAILED_PRECONDITION, "no manifest configured"
            reason = REASON_NO_MANIFEST
        case InRecovery():
            code, text = grpc.StatusCode.FAILED_PRECONDITION, "coordinator is in recovery mode"
            reason = REASON_RECOVERY
        case HistoryInconsistent():
            code, text = grpc.StatusCode.FAILED_PRECONDITION, str(error)
            reason = REASON_INCONSISTENT
        case ConcurrentUpdate() | StoreConflict():
            code = grpc.StatusCode.FAILED_PRECONDITION
            text = "coordinator state was updated concurrently"
            reason = REASON_CONFLICT
        case HistoryCorrupt():
            code, text = grpc.StatusCode.DATA_LOSS, str(error)
        case StoreError():
            text = "the coordinator's store cannot be read or written"
    return Refusal(code, text, reason=reason)
