"""One unary call with our error mapping; the service path has had two spellings."""

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
    """Call `method` under the first of `services` the server knows and return its parsed response.

    Raises the classes of `contrast_tasks.api.errors` and NotAuthorised.
    """
    for last, service in (
        (index == len(services) - 1, name) for index, name in enumerate(services)
    ):
        call = channel.unary_unary(
            f"/{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=parse,
        )
        try:
            response: Response = call(request, timeout=timeout_s)
        except grpc.RpcError as err:
            if err.code() is grpc.StatusCode.UNIMPLEMENTED and not last:
                continue
            raise error_from_rpc(method, err) from err
        return response
    raise ValueError("no service name given")
