"""One unary gRPC call, with failures turned into our errors; a service may have an older and a newer name."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import grpc

from contrast_tasks.api.errors import error_from_rpc


class _Message(Protocol):
    def SerializeToString(self) -> bytes: ...  # noqa: N802  # protobuf's spelling


Response = TypeVar("Response")


def call_unary(
    channel: grpc.Channel,
    services: Sequence[str],
    method: str,
    request: _Message,
    parse: Callable[[bytes], Response],
    *,
    timeout_s: float,
) -> Response:
    """Call `method` under the first of `services` that the server knows; return the parsed response.

    Raises the errors of `contrast_tasks.api.errors` and NotAuthorised.
    """
    for service in services:
        call = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=parse,
        )
        try:
            response: Response = call(request, timeout=timeout_s)
        except grpc.RpcError as err:
            if err.code() is grpc.StatusCode.UNIMPLEMENTED and service != services[-1]:
                continue
            raise error_from_rpc(method, err) from err
        return response
    raise ValueError("no service name given")
