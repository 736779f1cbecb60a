"""An ordinary gRPC server behind attested TLS.

    server = serve(register, listen=("127.0.0.1", 0), issuer=issuer, require_client=validators_and_state)
    ...
    server.stop(grace_s=5)

`register(grpc_server, registry)` adds the services; their methods get the caller's identity from `registry.require(context)`.
The gRPC server itself listens on a Unix socket in a private directory and refuses calls that did not come through TLS.
"""

import asyncio
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self

import grpc
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.atls.certificate import new_key
from contrast_tasks.atls.computing import ReleasingIssuer
from contrast_tasks.atls.registry import Registry, RequireIdentity
from contrast_tasks.atls.room import FairQueue, network_of
from contrast_tasks.atls.service import Limits, Service
from contrast_tasks.atls.session import ServerSession
from contrast_tasks.atls.terminator import Terminator
from contrast_tasks.atls.types import Clock, RequireClient, utc_now
from contrast_tasks.errors import ClusterError
from contrast_tasks.evidence_documents import Issuer

Handlers = Callable[[grpc.Server, Registry], None]
_SOCKET_NAME = "grpc.sock"
_LIMITS = Limits()
# What does not fit has to try again, after a second at the earliest; the kernel may allow less.
_BACKLOG = 4096


class AtlsServer:
    """A running listener: the `host` and `port` it is bound to, and the `registry` of connected peers."""

    def __init__(
        self,
        *,
        listener: socket.socket,
        grpc_server: grpc.Server,
        workers: ThreadPoolExecutor,
        folder: Path,
        service: Service,
    ) -> None:
        self.host, self.port = listener.getsockname()[:2]
        self.registry = service.registry
        self._grpc_server = grpc_server
        self._workers = workers
        self._folder = folder
        self._handshakes = service.executor
        self._terminator = Terminator(service)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._run_loop, name=f"atls-{self.port}", daemon=True
        )
        self._stop_lock = threading.Lock()
        self._stopped = False
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._terminator.start(listener), self._loop).result()

    def stop(self, grace_s: float | None = None) -> None:
        """Stop accepting, give running calls `grace_s` seconds to finish, then close everything and join all threads.

        May be called again, and from any thread except those of the handlers.
        """
        with self._stop_lock:
            if self._stopped:
                return
            self._stopped = True
            self._loop.call_soon_threadsafe(self._terminator.stop_accepting)
            self._grpc_server.stop(grace_s).wait()
            asyncio.run_coroutine_threadsafe(self._terminator.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._handshakes.shutdown()
            self._workers.shutdown()
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def serve(
    handlers: Handlers,
    *,
    listen: tuple[str, int],
    issuer: Issuer | None,
    require_client: RequireClient | None = None,
    key: ec.EllipticCurvePrivateKey | None = None,
    clock: Clock = utc_now,
    limits: Limits = _LIMITS,
    on_refused: Callable[[Exception], None] | None = None,
    options: tuple[tuple[str, Any], ...] = (),
) -> AtlsServer:
    """Start a server and return it; `stop` ends its threads and removes its files.

    handlers: called once, before the start, with the gRPC server and the registry.
    listen: host and port, 0 for any free port (see `.port`).
    require_client: called at the start of each handshake for the validators of the client's evidence, which is then demanded.
        None: one-sided, any client certificate or none is accepted.
    on_refused: called on the terminator's thread with the cause of each refused handshake (for a counter).
    Raises ClusterError if the address cannot be bound.
    """
    listener = _bind(*listen)
    folder = Path(tempfile.mkdtemp(prefix="contrast-atls-"))  # 0700
    registry = Registry()
    workers = ThreadPoolExecutor(limits.calls, thread_name_prefix="atls-rpc")
    try:
        grpc_server = grpc.server(
            _FairWorkers(workers, registry),
            interceptors=[RequireIdentity(registry)],
            options=options,
        )
        handlers(grpc_server, registry)
        grpc_server.add_insecure_port(f"unix:{folder / _SOCKET_NAME}")
        grpc_server.start()
    except BaseException:
        listener.close()
        workers.shutdown(wait=False)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return AtlsServer(
        listener=listener,
        grpc_server=grpc_server,
        workers=workers,
        folder=folder,
        service=Service(
            new_session=partial(
                ServerSession,
                key=key or new_key(),
                issuer=None if issuer is None else ReleasingIssuer(issuer),
                require_client=require_client,
                clock=clock,
            ),
            registry=registry,
            backend_path=str(folder / _SOCKET_NAME),
            executor=ThreadPoolExecutor(limits.threads, thread_name_prefix="atls-handshake"),
            limits=limits,
            on_refused=on_refused,
        ),
    )


class _FairWorkers(Executor):
    """Runs the calls of one address after the other: hundreds of one would else come before everybody's."""

    def __init__(self, workers: ThreadPoolExecutor, registry: Registry) -> None:
        self._queue = FairQueue(workers)
        self._registry = registry

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Return the future result of a call."""
        return self._queue.submit(self._address(args), partial(fn, *args, **kwargs))

    def _address(self, arguments: tuple[Any, ...]) -> str:
        """Return whose call it is, "" if that cannot be told; an error would end gRPC's own thread.

        gRPC has the name of the connection in the event of the call, which is among the arguments of what it submits.
        """
        event = next((each for each in arguments if hasattr(each, "call_details")), None)
        name: object = event.call.peer() if event is not None else ""
        identity = self._registry.find(name.decode() if isinstance(name, bytes) else str(name))
        return "" if identity is None else network_of(identity.address or "")


def _bind(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except OSError as err:
        raise ClusterError(
            f"cannot listen on {host}:{port}: {(err.strerror or str(err)).lower()}",
            hint="stop the process that uses the port, or choose another one",
        ) from err
    listener.setblocking(False)  # noqa: FBT003  # the socket API has it so
    return listener
