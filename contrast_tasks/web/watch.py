"""The time limit on whole answers: connections are shut down from another thread, whatever they wait for.

urllib3's own timeouts limit the wait for one piece, so a service could trickle bytes for ever.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import urllib3
from urllib3.connection import HTTPConnection


class Watch:
    """Shuts down the connections of a client when a request takes too long."""

    def __init__(self) -> None:
        self.is_cut = False
        self._lines: list[tuple[HTTPConnection, socket.socket]] = []

    def add(self, connection: HTTPConnection, connected: socket.socket) -> None:
        """Watch a new connection. Raises TimeoutError if the time is over already."""
        # A duplicate stays valid when TLS wraps the socket or the response takes it over.
        self._lines.append((connection, connected.dup()))
        self.require_time()

    def require_time(self) -> None:
        """Raise TimeoutError if the time is over."""
        if self.is_cut:
            raise TimeoutError

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Cut all connections if the block takes longer."""
        self.is_cut = False
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()
            self.forget_closed()

    def forget_closed(self) -> None:
        """Drop the connections that have been closed."""
        for _, line in [entry for entry in self._lines if entry[0].is_closed]:
            line.close()
        self._lines = [entry for entry in self._lines if not entry[0].is_closed]

    def _cut(self) -> None:
        self.is_cut = True
        for _, line in tuple(self._lines):
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


def watched_pool(
    base: type[urllib3.HTTPConnectionPool], watch: Watch
) -> type[urllib3.HTTPConnectionPool]:
    """Return a subclass of a pool for http or https whose connections are watched."""

    class Connection(base.ConnectionCls):  # type: ignore[misc, name-defined]  # the pool's own kind, http or https
        def _new_conn(self) -> socket.socket:
            connected: socket.socket = super()._new_conn()
            watch.add(self, connected)
            return connected

        def _tunnel(self) -> None:
            try:
                super()._tunnel()
            except OSError as err:
                watch.require_time()
                raise NoTunnel(str(err)) from err

    class Pool(base):  # type: ignore[misc, valid-type]
        ConnectionCls = Connection

    return Pool


class NoTunnel(OSError):
    """The proxy did not answer CONNECT with 200. The text may quote what the proxy sent."""
