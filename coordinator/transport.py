"""The APIs on the wire: handlers as gRPC methods behind attested TLS, under both spellings of the service path.

What a handler refuses becomes its status code; what it did not foresee becomes INTERNAL with a constant text, the
traceback goes to the log only.
"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol

import grpc
from google.protobuf.message import DecodeError

from contrast_tasks.api import meshapi, userapi
from contrast_tasks.api import meshapi_pb2 as mesh_pb
from contrast_tasks.api import userapi_pb2 as user_pb
from contrast_tasks.api.errors import REASON_KEY
from contrast_tasks.api.limits import MESH_SERVER_OPTIONS, SERVER_OPTIONS
from contrast_tasks.atls.registry import Registry
from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.atls.types import Issuer, PeerIdentity, Validators
from contrast_tasks.errors import ContrastError
from coordinator import meshapi as mesh_methods
from coordinator import userapi as user_methods
from coordinator.metrics import ATTESTATION_FAILURES, Metrics
from coordinator.refusal import Refusal, refusal_from
from coordinator.state import Guard, State

_log = logging.getLogger("coordinator.transport")

Handler = Callable[[Any, PeerIdentity, Guard], Any]
MakeValidators = Callable[[State], Validators]


class Message(Protocol):
    """A protobuf message class, as far as serving needs it."""

    @staticmethod
    def FromString(serialized: bytes) -> Any:  # noqa: N802  # protobuf's spelling
        """Parse a message."""


@dataclass(frozen=True, kw_only=True)
class Method:
    """One RPC: its name, the request's class and the function that answers it."""

    service: str
    name: str
    request: type[Message]
    handler: Handler


@dataclass(frozen=True, kw_only=True)
class Context:
    """What all methods of this process share."""

    guard: Guard
    metrics: Metrics


class Finder(Protocol):
    """Says who is at the other end of a call."""

    def require(self, context: Any) -> PeerIdentity:
        """Return the peer's identity, or abort the call."""


def user_methods_of() -> tuple[Method, ...]:
    """Return the user API's methods."""
    service = userapi.SERVICES[0]
    return (
        Method(
            service=service,
            name="SetManifest",
            request=user_pb.SetManifestRequest,
            handler=user_methods.set_manifest,
        ),
        Method(
            service=service,
            name="GetManifests",
            request=user_pb.GetManifestsRequest,
            handler=user_methods.get_manifests,
        ),
        Method(
            service=service,
            name="Recover",
            request=user_pb.RecoverRequest,
            handler=user_methods.recover,
        ),
    )


def mesh_methods_of(claims: mesh_methods.Claims) -> tuple[Method, ...]:
    """Return the mesh API's methods; peers' Recover is not offered and answers UNIMPLEMENTED."""
    return (
        Method(
            service=meshapi.SERVICES[0],
            name="NewMeshCert",
            request=mesh_pb.NewMeshCertRequest,
            handler=partial(mesh_methods.new_mesh_cert, claims=claims),
        ),
    )


def generic_handlers(
    spellings: Iterable[str], methods: Iterable[Method], registry: Finder, context: Context
) -> "tuple[grpc.GenericRpcHandler[Any, Any], ...]":
    """Return what a gRPC server is given: every method under every spelling of its service."""
    methods = tuple(methods)
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            partial(_answer, method, registry, context), response_serializer=_serialize
        )
        for method in methods
    }
    return tuple(grpc.method_handlers_generic_handler(name, handlers) for name in spellings)


def serve_user_api(listen: tuple[str, int], *, issuer: Issuer, context: Context) -> AtlsServer:
    """Start the user API: evidence for the client, any client certificate or none.

    Raises ClusterError when the address cannot be bound.
    """

    def register(server: grpc.Server, registry: Registry) -> None:
        server.add_generic_rpc_handlers(
            generic_handlers(userapi.SERVICES, user_methods_of(), registry, context)
        )

    return serve(
        register,
        listen=listen,
        issuer=issuer,
        clock=context.guard.now,
        options=SERVER_OPTIONS,
    )


def serve_mesh_api(
    listen: tuple[str, int],
    *,
    issuer: Issuer,
    context: Context,
    make_validators: MakeValidators,
    claims: mesh_methods.Claims,
) -> AtlsServer:
    """Start the mesh API: evidence on both sides, judged by the manifest in force when the handshake begins.

    Raises ClusterError when the address cannot be bound.
    """

    def register(server: grpc.Server, registry: Registry) -> None:
        server.add_generic_rpc_handlers(
            generic_handlers(meshapi.SERVICES, mesh_methods_of(claims), registry, context)
        )

    return serve(
        register,
        listen=listen,
        issuer=issuer,
        require_client=MeshGate(context.guard, make_validators),
        clock=context.guard.now,
        on_refused=lambda _error: context.metrics.count(ATTESTATION_FAILURES),
        options=MESH_SERVER_OPTIONS,
    )


class MeshGate:
    """Gives each handshake its validators together with the state they come from.

    Without a state that can be served the call raises, which refuses the connection.
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
            # Two threads may build the same; both results are right and one is kept.
            built = (state, self._make(state))
            self._built = built
        return built[1], state


def _abort(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    if refusal.reason:
        context.set_trailing_metadata(((REASON_KEY, refusal.reason),))
    context.abort(refusal.code, str(refusal))
    raise AssertionError("abort always raises")


def _answer(
    method: Method, registry: Finder, shared: Context, request: bytes, context: grpc.ServicerContext
) -> Any:
    identity = registry.require(context)
    shared.metrics.call_started(method.service, method.name)
    began = time.perf_counter()

    def handled(code: str) -> None:
        seconds = time.perf_counter() - began
        shared.metrics.call_handled(method.service, method.name, code, seconds)

    _log.info("%s called", method.name)
    try:
        response = method.handler(_parse(method, request), identity, shared.guard)
    except ContrastError as err:
        refusal = refusal_from(err)
        _log_refusal(method, err, refusal)
    except Exception:  # noqa: BLE001  # the outermost handler of a call
        _log.exception("%s failed", method.name)
        refusal = Refusal(grpc.StatusCode.INTERNAL, "internal error")
    else:
        handled("OK")
        return response
    handled(refusal.code.name)
    _abort(context, refusal)


def _parse(method: Method, request: bytes) -> Any:
    # Not gRPC's business: it would log a traceback for whatever anybody sends.
    try:
        return method.request.FromString(request)
    except DecodeError as err:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "the request is malformed") from err


def _log_refusal(method: Method, error: ContrastError, refusal: Refusal) -> None:
    where = {"where": str(error.where)} if error.where is not None else {}
    _log.warning(
        "%s refused: %s", method.name, error, extra={"code": refusal.code.name.lower(), **where}
    )


def _serialize(message: Any) -> bytes:
    content: bytes = message.SerializeToString()
    return content
