"""Refusals on the wire: a status code, a text, a reason for machines and a hint for people; and the errors that they become.

PERMISSION_DENIED, UNAUTHENTICATED      NotAuthorised           43
FAILED_PRECONDITION, UNAVAILABLE,
DEADLINE_EXCEEDED, CANCELLED            CoordinatorNotReady     40
INVALID_ARGUMENT, RESOURCE_EXHAUSTED    RequestRefused           2
DATA_LOSS, INTERNAL, any other code,
a response above our size limit         CoordinatorFailed       40

Callers branch on the class and the reason, never on the text. A Coordinator of the reference product sends a text only.
Source: docs/internals/coordinator.md 2.3.
"""

from collections.abc import Mapping
from typing import NamedTuple

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from contrast_tasks.api import status_pb2 as pb
from contrast_tasks.errors import ContrastError, CoordinatorUnreachable, NotAuthorised, UsageError

# The trailing metadata entry that gRPC's own libraries read a google.rpc.Status from.
DETAILS_KEY = "grpc-status-details-bin"
_DOMAIN = "contrast-tasks"
_LOCALE = "en"
_TYPES = "type.googleapis.com/google.rpc."
# Relative to this project's files, as it has no host of its own.
_PAGE = "docs/reference/refusals.md"

REASON_NO_MANIFEST = "no_manifest"
REASON_RECOVERY = "needs_recovery"
REASON_RECOVERED = "already_recovered"
REASON_PEERS = "peers_available"
REASON_ROLLED_BACK = "rolled_back"
REASON_INCONSISTENT = "history_inconsistent"
REASON_DAMAGED = "history_damaged"
REASON_HISTORY_FULL = "history_full"
REASON_ANSWER_SIZE = "answer_too_large"
REASON_BUSY = "busy"
REASON_CONFLICT = "concurrent_update"
REASON_OUTDATED = "outdated_snapshot"
REASON_NOT_IN_MANIFEST = "not_in_manifest"
REASON_CA_ENDED = "mesh_ca_ended"
REASON_NO_KEY = "no_client_key"
REASON_NOT_OWNER = "not_an_owner"
REASON_FINAL = "updates_disabled"
REASON_SIGNATURE = "bad_signature"
REASON_APPROVALS = "approvals_missing"
REASON_SEEDSHARE_OWNERS = "seedshare_owners_changed"
REASON_MANIFEST = "invalid_manifest"
REASON_POLICIES = "policies_differ"
REASON_SEED = "wrong_seed"
REASON_ARGUMENT = "invalid_argument"
REASON_STORE = "store_unavailable"
REASON_INTERNAL = "internal"


class Reason(NamedTuple):
    """The code of a reason's status, what the reason means, and the hint that goes with it."""

    code: grpc.StatusCode
    meaning: str
    hint: str = ""


_UNMET = grpc.StatusCode.FAILED_PRECONDITION
_DENIED = grpc.StatusCode.PERMISSION_DENIED
_INVALID = grpc.StatusCode.INVALID_ARGUMENT

REASONS: Mapping[str, Reason] = {
    REASON_NO_MANIFEST: Reason(_UNMET, "no manifest was ever set", "set a manifest first"),
    REASON_RECOVERY: Reason(
        _UNMET,
        "there is a history, but the process does not hold its keys",
        "the coordinator was restarted: recover it with a seed share owner key",
    ),
    REASON_RECOVERED: Reason(_UNMET, "there is nothing to recover, as the Coordinator serves"),
    REASON_PEERS: Reason(
        _UNMET,
        "another Coordinator on the same store serves and gives its keys away",
        "another coordinator of this deployment serves already; --force gives this one a mesh ca of its own",
    ),
    REASON_ROLLED_BACK: Reason(
        _UNMET,
        "the history does not lead to a transition that the caller has seen",
        "restore the newer history; an owner accepts the older one with recover --accept-rollback",
    ),
    REASON_INCONSISTENT: Reason(
        _UNMET,
        "the store holds transitions, but not the head that names the newest",
        "the coordinator's history lost its newest entry: restore it, or start with --force-new",
    ),
    REASON_DAMAGED: Reason(
        grpc.StatusCode.DATA_LOSS,
        "an object of the history was changed or removed",
        "restore the object from a backup of the state; the coordinator's log has its place",
    ),
    REASON_HISTORY_FULL: Reason(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the history would be larger than an answer of GetManifests",
        "begin a new history with a new coordinator",
    ),
    REASON_ANSWER_SIZE: Reason(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "the history is larger than an answer of GetManifests",
        "ask with contrast-tasks, which gets the history in packs",
    ),
    REASON_CONFLICT: Reason(
        _UNMET,
        "another transition is the latest than the one that the update follows",
        "another client set a manifest at the same time: verify, then set again",
    ),
    REASON_OUTDATED: Reason(
        grpc.StatusCode.UNAVAILABLE,
        "the manifest has changed since the connection was judged by it",
        "connect again",
    ),
    REASON_BUSY: Reason(
        grpc.StatusCode.UNAVAILABLE,
        "requests that have not come whole, large ones that are handled, or answers that were not read yet take all that there is for them",
        "ask again",
    ),
    REASON_NOT_IN_MANIFEST: Reason(
        _DENIED,
        "the evidence is genuine, but its policy is not in the manifest, or has not the role",
    ),
    REASON_CA_ENDED: Reason(
        _UNMET,
        "the mesh CA of the manifest in force is too old to issue certificates",
        "set the manifest again, which makes a new one, and restart the workloads",
    ),
    REASON_NO_KEY: Reason(
        _DENIED,
        "the call needs an owner's client key, and there is none",
        "connect with an owner's key",
    ),
    REASON_NOT_OWNER: Reason(
        _DENIED,
        "the client key is not that of an owner who may do this",
        "connect with the key of an owner whom the manifest in force lists",
    ),
    REASON_FINAL: Reason(
        _DENIED,
        "the manifest in force lists no owners, so nothing can replace it",
        "deploy a new coordinator",
    ),
    REASON_SIGNATURE: Reason(
        _DENIED,
        "a signature is not by an owner of the manifest in force, or not over this transition",
        "sign this manifest after the latest transition",
    ),
    REASON_APPROVALS: Reason(
        _DENIED,
        "the manifest in force demands the approval of more owners; `found`, `wanted`, `missing` (digests of keys)",
        "collect signatures of more owners over this manifest after the latest transition",
    ),
    REASON_SEEDSHARE_OWNERS: Reason(
        _DENIED,
        "the seed share owners differ from those of the manifest in force",
        "list the seed share owners of the manifest in force, in their order",
    ),
    REASON_MANIFEST: Reason(
        _INVALID,
        "the manifest breaks a rule; `field` is the JSON pointer of the first error",
        "generate the manifest again",
    ),
    REASON_POLICIES: Reason(
        _INVALID,
        "the request has not exactly the policies that the manifest names",
        "send the policies of the manifest, and no others",
    ),
    REASON_SEED: Reason(
        _INVALID,
        "the seed or its salt has the wrong size, or its key did not sign the history",
        "use the seed shares that this coordinator gave away",
    ),
    REASON_ARGUMENT: Reason(_INVALID, "the request is malformed or too large"),
    REASON_STORE: Reason(
        grpc.StatusCode.INTERNAL,
        "the Coordinator's store cannot be read or written",
        "see the coordinator's log",
    ),
    REASON_INTERNAL: Reason(
        grpc.StatusCode.INTERNAL, "a fault of the Coordinator", "see the coordinator's log"
    ),
}

_MAX_DETAIL_CHARS = 2000


class RequestRefused(UsageError):
    """The Coordinator does not accept the request: a bad manifest, a missing policy, a message that is too large."""

    reason = ""


class CoordinatorNotReady(CoordinatorUnreachable):
    """The Coordinator cannot serve this call now."""

    def __init__(
        self, message: str, *, hint: str = "", reason: str = "", is_answer: bool = False
    ) -> None:
        """Keep the Coordinator's reason. With a reason, or if `is_answer`, it did answer: waiting does not help."""
        super().__init__(message, hint=hint)
        self.reason = reason
        self.is_passing = reason == REASON_BUSY or not (reason or is_answer)


class CoordinatorFailed(CoordinatorUnreachable):
    """The Coordinator failed to do what was asked.

    is_damage: its stored state can no longer be read. is_unknown: it has no such call.
    """

    is_passing = False
    is_damage = False
    is_unknown = False


class Details(NamedTuple):
    """What a refusal tells machines; reason "": nothing. found: by the names that `REASONS` tells."""

    reason: str = ""
    hint: str = ""
    found: Mapping[str, str] = {}


def render_details(code: grpc.StatusCode, message: str, details: Details) -> bytes:
    """Return the serialized google.rpc.Status of a refusal; code and message are those of the call."""
    info = pb.ErrorInfo(reason=details.reason, domain=_DOMAIN, metadata=details.found)
    parts = [
        AnyMessage(type_url=f"{_TYPES}ErrorInfo", value=info.SerializeToString(deterministic=True))
    ]
    if details.hint:
        hint = pb.LocalizedMessage(locale=_LOCALE, message=details.hint)
        parts.append(
            AnyMessage(type_url=f"{_TYPES}LocalizedMessage", value=hint.SerializeToString())
        )
    link = pb.Link(description="what the reason means", url=f"{_PAGE}#{details.reason}")
    page = pb.Help(links=[link])
    parts.append(AnyMessage(type_url=f"{_TYPES}Help", value=page.SerializeToString()))
    status = pb.Status(code=code.value[0], message=message, details=parts)
    return status.SerializeToString(deterministic=True)


def parse_details(content: bytes) -> Details:
    """Return what a serialized google.rpc.Status holds of ours; details of others, and malformed ones, are ignored."""
    info, hint = pb.ErrorInfo(), pb.LocalizedMessage()
    try:
        for part in pb.Status.FromString(content).details:
            kind = part.type_url.rpartition("/")[2]
            if kind == "google.rpc.ErrorInfo":
                info.ParseFromString(part.value)
            elif kind == "google.rpc.LocalizedMessage":
                hint.ParseFromString(part.value)
    except DecodeError:
        return Details()
    if info.domain != _DOMAIN:
        return Details()
    found = {name: _printable(value) for name, value in info.metadata.items()}
    return Details(reason=info.reason, hint=_printable(hint.message), found=found)


# Texts of the reference product's Coordinators, which send no details. Source: docs/internals/coordinator.md 2.3.
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


# What is refused, in the words of whoever asked; other calls by their names.
_ASKED: Mapping[str, str] = {
    "SetManifest": "set",
    "SetPacked": "set",
    "PlanManifest": "plan",
    "PlanPacked": "plan",
    "GetManifests": "verify",
    "GetPacked": "verify",
    "Attest": "verify",
    "Recover": "recover",
    "GetStatus": "status",
    "GetSeedShares": "seed shares",
    "GetAuditLog": "the audit log",
    "NewMeshCert": "a certificate",
}


def error_from_rpc(call: str, error: grpc.RpcError) -> ContrastError:
    """Return our error for a failed call, with the Coordinator's reason and hint; `call` is its name, as `SetManifest`.

    The message holds the peer's text without control characters, cut to 2,000 characters.
    """
    code = error.code()
    details = _details(error)
    hint = details.hint or hint_of(details.reason)
    text = _printable(error.details() or code.name.lower())
    if details.reason == REASON_APPROVALS:
        # The text is that of a wrong key, for clients of the reference product.
        text = _approvals(details.found)
    message = f"coordinator refused {_ASKED.get(call, call)}: {text}"
    if code in {grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED}:
        denied = NotAuthorised(message, hint=hint)
        denied.reason = details.reason
        return denied
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _OUR_LIMIT in (error.details() or ""):
        return CoordinatorFailed(message, hint="its answer exceeds this client's size limit")
    if code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED}:
        refused = RequestRefused(message, hint=hint)
        refused.reason = details.reason
        return refused
    if code in _NOT_READY:
        is_answer = code is grpc.StatusCode.FAILED_PRECONDITION
        return CoordinatorNotReady(message, hint=hint, reason=details.reason, is_answer=is_answer)
    failed = CoordinatorFailed(message, hint=hint or hint_of(REASON_INTERNAL))
    failed.reason = details.reason
    failed.is_damage = code is grpc.StatusCode.DATA_LOSS
    failed.is_unknown = code is grpc.StatusCode.UNIMPLEMENTED
    return failed


def not_ready(call: str, text: str, reason: str) -> CoordinatorNotReady:
    """Return the error for a Coordinator that answered that it cannot serve a call; reason "": the text may tell."""
    reason = reason or _reason_in(text)
    return CoordinatorNotReady(
        f"coordinator refused {_ASKED.get(call, call)}: {_printable(text)}",
        hint=hint_of(reason),
        reason=reason,
        is_answer=True,
    )


def hint_of(reason: str) -> str:
    """Return the hint that goes with a reason, "" if there is none or the reason is not known."""
    return REASONS[reason].hint if reason in REASONS else ""


def _details(error: grpc.RpcError) -> Details:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return parse_details(value)
    if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
        return Details(reason=_reason_in(error.details() or ""))
    return Details()


def _approvals(found: Mapping[str, str]) -> str:
    lines = (f"  {name:<7} {found.get(name, '')}" for name in ("found", "wanted", "missing"))
    return "\n".join(("too few owners approve", *lines))


def _reason_in(text: str) -> str:
    return next((reason for phrase, reason in _REASON_IN_TEXT if phrase in text), "")


def _printable(text: str) -> str:
    kept = "".join(char if char.isprintable() or char == "\n" else "?" for char in text)
    return kept if len(kept) <= _MAX_DETAIL_CHARS else kept[:_MAX_DETAIL_CHARS] + "..."
