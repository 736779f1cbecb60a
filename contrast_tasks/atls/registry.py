"""The verified peer of each connection: how gRPC handlers learn who the terminator admitted.

The terminator binds each backend connection to a random abstract Unix name and registers the verified peer under that name
before it connects. A handler finds the name in `context.peer()`. Clients cannot influence it. An entry is removed before its
socket is closed, so a name cannot be bound again while it is still trusted.
"""

import secrets
import threading
from collections.abc import Callable
from typing import Any, NoReturn, Protocol

import grpc

from contrast_tasks.atls.types import PeerIdentity

_PEER_PREFIX = "unix-abstract:"


class PeerContext(Protocol):
    """The two methods of grpc.ServicerContext that the registry needs."""

    def peer(self) -> str:
        """Return the transport's name for the peer."""

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with an error."""


class Registry:
    """Verified peers by the name of their backend connection; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._peers: dict[str, PeerIdentity] = {}

    def __len__(self) -> int:
        with self._lock:
            return len(self._peers)

    def add(self, identity: PeerIdentity) -> str:
        """Register a peer and return the abstract name (without the NUL) its backend socket must be bound to."""
        name = "atls-" + secrets.token_hex(16)
        with self._lock:
            self._peers[name] = identity
        return name

    def remove(self, name: str) -> None:
        """Forget a name; unknown names are ignored."""
        with self._lock:
            self._peers.pop(name, None)

    def find(self, peer: str) -> PeerIdentity | None:
        """Return the identity for the result of `context.peer()`, None for a connection that is not registered."""
        if not peer.startswith(_PEER_PREFIX):
            return None
        with self._lock:
            return self._peers.get(peer.removeprefix(_PEER_PREFIX))

    def require(self, context: PeerContext) -> PeerIdentity:
        """Return the identity of a handler's peer; abort the call if it did not come through the terminator."""
        identity = self.find(context.peer())
        if identity is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the connection is not attested")
        return identity


class RequireIdentity(grpc.ServerInterceptor):  # type: ignore[type-arg,misc,unused-ignore]  # generic in the stubs only
    """Refuses all methods, also unknown and reflected ones, on connections that are not in the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def intercept_service(
        self, continuation: Callable[[Any], Any], handler_call_details: Any
    ) -> Any:
        """Return the method's handler, with the check before its behaviour."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        make = _HANDLER_MAKERS[(bool(handler.request_streaming), bool(handler.response_streaming))]
        behaviour = getattr(handler, make)
        return getattr(grpc, f"{make}_rpc_method_handler")(
            _checked(behaviour, self._registry),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )


_HANDLER_MAKERS = {
    (False, False): "unary_unary",
    (False, True): "unary_stream",
    (True, False): "stream_unary",
    (True, True): "stream_stream",
}


def _checked(behaviour: Callable[[Any, Any], Any], registry: Registry) -> Callable[[Any, Any], Any]:
    def guarded(request: Any, context: Any) -> Any:
        registry.require(context)
        return behaviour(request, context)

    return guarded
