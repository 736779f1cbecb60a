"""The APIs on the wire: handlers as gRPC methods behind attested TLS, under both spellings of the service path.

A refusal becomes its status code. Any other exception becomes INTERNAL with a constant text; its traceback goes to the log
only.
"""

import logging
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple, NoReturn

import grpc
from google.protobuf.message import DecodeError, Message

from contrast_tasks.api import ext_pb2 as ext_pb
from contrast_tasks.api import meshapi, userapi
from contrast_tasks.api import meshapi_pb2 as mesh_pb
from contrast_tasks.api import userapi_pb2 as user_pb
from contrast_tasks.api.errors import DETAILS_KEY, REASON_ARGUMENT, REASON_INTERNAL
from contrast_tasks.api.limits import MESH_SERVER_OPTIONS, SERVER_OPTIONS
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    EvidenceMissing,
    HandshakeFailed,
    NoReferenceAccepted,
    NoRoom,
    OtherProtocol,
    TooSlow,
)
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.atls.service import Limits, affordable
from contrast_tasks.atls.types import PeerIdentity, Validators
from contrast_tasks.errors import ContrastError, EvidenceRejected
from contrast_tasks.evidence_documents import Issuer
from coordinator.admission import (
    LARGE_AT_ONCE_BYTES,
    answers_budget,
    held_request,
    hold_answer,
    read_request,
    reading_budget,
    requests_budget,
)
from coordinator.authorisation import actor_of
from coordinator.budget import Budget
from coordinator.extapi import PeerCount, get_audit_log, get_status, plan_manifest, plan_packed
from coordinator.meshapi import Claims, new_mesh_cert
from coordinator.meshapi import recover as recover_peer
from coordinator.metrics import (
    EVIDENCE_REFUSED,
    HANDSHAKES_REFUSED,
    MESH_FAILURES,
    RECOVERIES,
    Metrics,
)
from coordinator.refusal import Refusal, refusal_from
from coordinator.state import Guard, State
from coordinator.store.base import StoreError
from coordinator.unavailable import StateUnavailable
from coordinator.userapi import (
    get_manifests,
    get_packed,
    get_seed_shares,
    manifests_size,
    packed_size,
    recover,
    set_manifest,
    set_packed,
)

_log = logging.getLogger("coordinator.transport")

Handler = Callable[[Any, PeerIdentity, Guard], Any]
# Descriptors for everything but connections: libraries, the store, gRPC, probes.
_OTHER_DESCRIPTORS = 256
_LISTENERS = 2
# Calls of the mesh API compute all the time, and use no store: more at once would only wait for each other.
_MESH_CALLS = 2

MakeValidators = Callable[[State], Validators]


class Method(NamedTuple):
    """One RPC: service and name as metrics show them, the type of its requests, and its handler.

    refused_as: the event of a refusal in the audit log, "" for none. weigh: about how many bytes an answer will have, for calls
    whose answers may be large. is_alone: requests take so much work that they are handled one after the other.
    """

    service: str
    name: str
    request: type[Message]
    handler: Handler
    refused_as: str = ""
    weigh: Callable[[Any, Guard], int] | None = None
    is_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The objects that all methods of this process share. requests, answers: bytes in memory, as `coordinator.admission` bounds them."""

    guard: Guard
    metrics: Metrics
    peers: PeerCount
    requests: Budget = field(default_factory=requests_budget)
    answers: Budget = field(default_factory=answers_budget)


def user_methods() -> tuple[Method, ...]:
    """Return the methods of the user API."""
    service = userapi.SERVICES[0]
    return (
        Method(service, "SetManifest", user_pb.SetManifestRequest, set_manifest, "set-refused"),
        Method(
            service,
            "GetManifests",
            user_pb.GetManifestsRequest,
            get_manifests,
            weigh=manifests_size,
        ),
        Method(service, "Recover", user_pb.RecoverRequest, recover, "recover-refused"),
    )


def extension_methods(peers: PeerCount) -> tuple[Method, ...]:
    """Return the methods that the reference product does not have, served beside the user API."""
    service = userapi.EXTENSION
    status = partial(get_status, peers=peers)
    packed = ext_pb.PackedManifest
    return (
        Method(
            service,
            "GetSeedShares",
            ext_pb.GetSeedSharesRequest,
            get_seed_shares,
            "seed-shares-refused",
        ),
        Method(service, "GetStatus", ext_pb.GetStatusRequest, status),
        Method(service, "PlanManifest", user_pb.SetManifestRequest, plan_manifest),
        Method(service, "SetPacked", packed, set_packed, "set-refused", is_alone=True),
        Method(service, "PlanPacked", packed, plan_packed, is_alone=True),
        Method(service, "GetPacked", ext_pb.GetPackedRequest, get_packed, weigh=packed_size),
        Method(service, "GetAuditLog", ext_pb.GetAuditLogRequest, get_audit_log, "audit-refused"),
    )


def mesh_methods(claims: Claims, *, with_address: bool = False) -> tuple[Method, ...]:
    """Return the methods of the mesh API.

    with_address: certificates are for the caller's address too.
    """
    handler = partial(new_mesh_cert, claims=claims, with_address=with_address)
    service = meshapi.SERVICES[0]
    return (
        Method(service, "NewMeshCert", mesh_pb.NewMeshCertRequest, handler),
        Method(service, "Recover", mesh_pb.RecoverRequest, recover_peer, "keys-refused"),
    )


def limits() -> Limits:
    """Return what one of the two listeners may spend: without descriptors left nobody could connect any more."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return affordable((allowed - _OTHER_DESCRIPTORS) // _LISTENERS)


def serve_user_api(listen: tuple[str, int], *, issuer: Issuer, context: Context) -> AtlsServer:
    """Start the user API: evidence for the client, any client certificate or none.

    Raises ClusterError when the address cannot be bound.
    """
    spent = limits()
    services: Services = (
        (userapi.SERVICES, user_methods()),
        ((userapi.EXTENSION,), extension_methods(context.peers)),
    )
    return serve(
        partial(_register, context, spent.calls, services),
        listen=listen,
        issuer=issuer,
        clock=context.guard.now,
        limits=spent,
        on_refused=partial(count_refused, context, "user"),
        options=SERVER_OPTIONS,
    )


def serve_mesh_api(
    listen: tuple[str, int],
    *,
    issuer: Issuer,
    context: Context,
    make_validators: MakeValidators,
    claims: Claims,
    with_address: bool = False,
) -> AtlsServer:
    """Start the mesh API: evidence on both sides, judged by the manifest in force when the handshake begins.

    with_address: certificates are for the caller's address too.
    Raises ClusterError when the address cannot be bound.
    """
    services: Services = ((meshapi.SERVICES, mesh_methods(claims, with_address=with_address)),)
    return serve(
        partial(_register, context, _MESH_CALLS, services),
        listen=listen,
        issuer=issuer,
        require_client=MeshGate(context.guard, make_validators),
        clock=context.guard.now,
        limits=replace(limits(), calls=_MESH_CALLS),
        on_refused=partial(count_refused, context, "mesh"),
        options=MESH_SERVER_OPTIONS,
    )


# Class of the error, and its word. Whoever reaches the port can cause most of them, so the audit log gets one entry an hour each.
_REFUSED: tuple[tuple[type[Exception], str], ...] = (
    (StateUnavailable, "no-state"),
    (StoreError, "no-state"),
    (NoRoom, "no-room"),
    (TooSlow, "too-slow"),
    (OtherProtocol, "protocol"),
    (HandshakeFailed, "handshake"),
    (BadPeerCertificate, "certificate"),
    (EvidenceMissing, "certificate"),
    (EvidenceRejected, "evidence"),
    (OSError, "handshake"),
)
_REFUSED_PERIOD = timedelta(hours=1)


def count_refused(context: Context, api: str, error: Exception) -> None:
    """Count a handshake that was refused; api: `user`, `mesh` or `transit`. Called on the thread of the connection."""
    reason = next((word for kind, word in _REFUSED if isinstance(error, kind)), "internal")
    context.metrics.count(HANDSHAKES_REFUSED, (("api", api), ("reason", reason)))
    if reason == "evidence":
        fault, tee = _fault_of(error)
        context.metrics.count(EVIDENCE_REFUSED, (("reason", fault), ("tee", tee)))
        reason = f"evidence {fault} {tee}"
    if api == "mesh" and not isinstance(error, NoRoom):
        context.metrics.count(MESH_FAILURES)
    context.guard.audit.count("handshake-refused", period=_REFUSED_PERIOD, api=api, reason=reason)


def _fault_of(error: Exception) -> tuple[str, str]:
    """Return the word of an EvidenceRejected, and the kind of its evidence; `several` if reference values differ in theirs."""
    each = error.rejections.values() if isinstance(error, NoReferenceAccepted) else (error,)
    found = {(getattr(err, "reason", ""), getattr(err, "by", "").partition("-")[0]) for err in each}
    faults, kinds = ({pair[index] for pair in found} for index in (0, 1))
    return _one(faults), _one(kinds)


def _one(names: set[str]) -> str:
    return names.pop() if len(names) == 1 else "several"


class MeshGate:
    """Gives each handshake its validators and the state that they are made from.

    A call raises if no state can be served, which refuses the connection.
    """

    def __init__(self, guard: Guard, make_validators: MakeValidators) -> None:
        self._guard = guard
        self._make = make_validators
        self._built: tuple[State, Validators] | None = None

    def __call__(self) -> tuple[Validators, State]:
        """Return validators and state for a connection that begins now."""
        state = self._guard.current()
        built = self._built
        if built is None or built[0] is not state:
            # Two threads may both build them; the results are equal, and one is kept.
            built = (state, self._make(state))
            self._built = built
        return built[1], state


Services = Sequence[tuple[Sequence[str], Sequence[Method]]]
"""Every spelling of a service, and its methods."""


def _register(
    context: Context, threads: int, services: Services, server: grpc.Server, registry: Registry
) -> None:
    """Add every method under every spelling of its service. threads: of the server."""
    api = _Api(registry=registry, shared=context, reading=reading_budget(threads))
    for names, methods in services:
        handlers = {
            method.name: grpc.stream_unary_rpc_method_handler(
                partial(_answer, method, api), response_serializer=_serialize
            )
            for method in methods
        }
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, handlers) for name in names)
        )


class _Api(NamedTuple):
    """What all methods of one API share. reading: the requests that are read."""

    registry: Registry
    shared: Context
    reading: Budget


def _answer(
    method: Method, api: _Api, requests: Iterator[bytes], context: grpc.ServicerContext
) -> Any:
    shared = api.shared
    identity = api.registry.require(context)
    shared.metrics.call_started(method.service, method.name)
    began = time.perf_counter()
    _log.info("%s called", method.name)
    refusal = None
    try:
        content = b""
        if method.request.DESCRIPTOR.fields:  # nobody waits for a request without members
            content = read_request(api.reading, requests, identity, context)
        size = LARGE_AT_ONCE_BYTES if method.is_alone else len(content)
        with held_request(shared.requests, size, identity):
            message = _parse(method, content)
            del content
            if method.weigh is not None:
                weight = method.weigh(message, shared.guard)
                hold_answer(shared.answers, weight, identity, context)
            response = method.handler(message, identity, shared.guard)
    except ContrastError as err:
        refusal = refusal_from(err)
        where = {"where": str(err.where)} if err.where is not None else {}
        extra = {"code": refusal.code.name.lower(), **where}
        _log.warning("%s refused: %s", method.name, err, extra=extra)
    except grpc.RpcError:
        # The peer has left, or sent too slowly.
        shared.metrics.call_handled(
            method.service, method.name, "CANCELLED", time.perf_counter() - began
        )
        raise
    except Exception:  # noqa: BLE001  # the outermost handler of a call
        _log.exception("%s failed", method.name)
        refusal = Refusal(REASON_INTERNAL, "internal error")
    if refusal is not None and method.refused_as:
        _note_refusal(shared.guard, method.refused_as, identity, refusal)
    code = "OK" if refusal is None else refusal.code.name
    seconds = time.perf_counter() - began
    shared.metrics.call_handled(method.service, method.name, code, seconds)
    if method.handler is recover:
        result = "ok" if refusal is None else refusal.reason
        shared.metrics.count(RECOVERIES, (("kind", "user"), ("result", result)))
    if refusal is not None:
        _abort(context, refusal)
    return response


def _note_refusal(guard: Guard, event: str, identity: PeerIdentity, refusal: Refusal) -> None:
    # Texts of other codes may quote what the caller sent.
    is_denied = refusal.code is grpc.StatusCode.PERMISSION_DENIED
    guard.audit.count(
        event,
        actor=actor_of(identity.public_key_spki),
        reason=str(refusal) if is_denied else refusal.reason,
    )


def _parse(method: Method, request: bytes) -> Any:
    # gRPC's own deserializer would log a traceback for every malformed request.
    try:
        return method.request.FromString(request)
    except DecodeError as err:
        raise Refusal(REASON_ARGUMENT, "the request is malformed") from err


def _abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    context.set_trailing_metadata(((DETAILS_KEY, refusal.render()),))
    context.abort(refusal.code, str(refusal))
    raise AssertionError("abort always raises")


def _serialize(message: Any) -> bytes:
    content: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return content
