"""gRPC status codes as errors of our tree, with their exit codes.

PERMISSION_DENIED, UNAUTHENTICATED      NotAuthorised           43
FAILED_PRECONDITION, UNAVAILABLE,
DEADLINE_EXCEEDED, CANCELLED            CoordinatorNotReady     40
INVALID_ARGUMENT, RESOURCE_EXHAUSTED    RequestRefused           2
DATA_LOSS, INTERNAL, any other code,
a response above our size limit         CoordinatorFailed       40
"""

import grpc

from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, NotAuthorised, UsageError

# The trailing metadata entry with the Coordinator's reason code: callers branch on it, not on the text.
REASON_KEY = "contrast-reason"

REASON_NO_MANIFEST = "no-manifest"
REASON_RECOVERY = "recovery-mode"
REASON_RECOVERED = "already-recovered"
REASON_PEERS = "peers-available"
REASON_ROLLED_BACK = "rolled-back"
REASON_INCONSISTENT = "history-inconsistent"
REASON_CONFLICT = "concurrent-update"
REASON_OUTDATED = "outdated-snapshot"

_MAX_DETAIL_CHARS = 2000


class RequestRefused(UsageError):
    """The Coordinator does not accept the request: a bad manifest, a missing policy, a message that is too large."""


class CoordinatorNotReady(CoordinatorUnreachable):
    """The Coordinator cannot serve this call now."""

    def __init__(
        self, message: str, *, hint: str = "", reason: str = "", is_answer: bool = False
    ) -> None:
        """Keep the Coordinator's reason code. With a reason, or if `is_answer`, it did answer: waiting does not help."""
        super().__init__(message, hint=hint)
        self.reason = reason
        self.is_passing = not (reason or is_answer)


class CoordinatorFailed(CoordinatorUnreachable):
    """The Coordinator failed to do what was asked.

    is_damage: its stored state can no longer be read. is_unknown: it has no such call.
    """

    is_passing = False
    is_damage = False
    is_unknown = False


_HINTS = {
    REASON_NO_MANIFEST: "set a manifest first",
    REASON_RECOVERY: "the coordinator was restarted: recover it with a seed share owner key",
    REASON_PEERS: "another coordinator of this deployment serves already; --force gives this one a mesh ca of its own",
    REASON_ROLLED_BACK: "restore the newer history; an owner accepts the older one with recover --accept-rollback",
    REASON_INCONSISTENT: "the coordinator's history lost its newest entry: restore it, or start with --force-new",
    REASON_CONFLICT: "another client set a manifest at the same time: verify, then set again",
}
# Texts of Coordinators that send no reason code. Source: docs/internals/coordinator.md 2.3.
_REASON_IN_TEXT = (
    ("no manifest configured", REASON_NO_MANIFEST),
    ("no state to recover from", REASON_NO_MANIFEST),
    ("in recovery mode", REASON_RECOVERY),
    ("already recovered", REASON_RECOVERED),
    ("rejecting user recovery", REASON_PEERS),
    ("updated concurrently", REASON_CONFLICT),
    ("does not match latest state", REASON_CONFLICT),
)
# gRPC uses the same code when its own client refuses a large response; only the text tells.
_OUR_LIMIT = "CLIENT: Received message larger than max"
_NOT_READY = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
    }
)


def error_from_rpc(call: str, error: grpc.RpcError) -> ContrastError:
    """Return our error for a failed call; `call` is its name, as `SetManifest`.

    The message holds the peer's text without control characters, cut to 2,000 characters.
    """
    code = error.code()
    message = f"coordinator refused {call}: {_printable(error.details() or code.name.lower())}"
    reason = _reason(error)
    if code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}:
        return NotAuthorised(message)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _OUR_LIMIT in (error.details() or ""):
        return CoordinatorFailed(message, hint="its answer exceeds this client's size limit")
    if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        return RequestRefused(message)
    if code in _NOT_READY:
        is_answer = code is grpc.StatusCode.FAILED_PRECONDITION
        hint = _HINTS.get(reason, "")
        return CoordinatorNotReady(message, hint=hint, reason=reason, is_answer=is_answer)
    failed = CoordinatorFailed(message, hint=_HINTS.get(reason, "see the coordinator's log"))
    failed.is_damage = code is grpc.StatusCode.DATA_LOSS
    failed.is_unknown = code is grpc.StatusCode.UNIMPLEMENTED
    return failed


def not_ready(call: str, text: str, reason: str) -> CoordinatorNotReady:
    """Return the error for a Coordinator that answered that it cannot serve a call; reason "": the text may tell."""
    reason = reason or _reason_in(text)
    return CoordinatorNotReady(
        f"coordinator refused {call}: {_printable(text)}",
        hint=_HINTS.get(reason, ""),
        reason=reason,
        is_answer=True,
    )


def _reason(error: grpc.RpcError) -> str:
    for key, value in error.trailing_metadata() or ():
        if key == REASON_KEY and isinstance(value, str):
            return value
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
        return _reason_in(error.details() or "")
    return ""


def _reason_in(text: str) -> str:
    return next((reason for phrase, reason in _REASON_IN_TEXT if phrase in text), "")


def _printable(text: str) -> str:
    kept = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return kept if len(kept) <= _MAX_DETAIL_CHARS else kept[:_MAX_DETAIL_CHARS] + "..."
