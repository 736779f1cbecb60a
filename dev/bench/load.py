"""Load for the mesh: `python -m dev.bench.load serve PORT`, and `... drive ADDRESS PORT CONNECTIONS REQUESTS PER_CONNECTION`.

The server answers each 128 bytes with as many; the client keeps one request under way on each connection, and prints its
seconds and the 99th percentile of the milliseconds that a request took. Both are event loops without a protocol, so that as much
as possible of the time is that of what lies between them.
"""

import json
import selectors
import socket
import sys
import time
from typing import NoReturn

_SIZE = 128
_BODY = b"x" * _SIZE


def serve(port: int) -> NoReturn:
    """Answer whoever connects; the first line of output says that it listens."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(("0.0.0.0", port), backlog=512)
    selector.register(listener, selectors.EVENT_READ)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(connection, selectors.EVENT_READ)
                continue
            connection = key.fileobj  # type: ignore[assignment]  # a selector does not know what it was given
            try:
                received = connection.recv(_SIZE)
            except ConnectionError:
                received = b""
            if received:
                connection.sendall(received)
            else:
                selector.unregister(connection)
                connection.close()


class _Client:
    """One connection after another, each with a number of requests."""

    def __init__(self, address: tuple[str, int], per_connection: int) -> None:
        self._address, self._per_connection = address, per_connection
        self.connect()

    def connect(self) -> None:
        """Open a connection and send its first request."""
        self.connection = socket.create_connection(self._address)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left, self._missing = self._per_connection, _SIZE
        self.began = time.perf_counter()
        self.connection.sendall(_BODY)

    def receive(self) -> float | None:
        """Return the seconds of a request whose answer is complete."""
        received = len(self.connection.recv(self._missing))
        if not received:
            raise ConnectionResetError
        self._missing -= received
        if self._missing:
            return None
        took = time.perf_counter() - self.began
        self._left -= 1
        return took

    def next_request(self) -> bool:
        """Send the next request, and return whether that is on the same connection."""
        if self._left:
            self._missing, self.began = _SIZE, time.perf_counter()
            self.connection.sendall(_BODY)
            return True
        self.connection.close()
        self.connect()
        return False


def drive(address: str, port: int, connections: int, requests: int, per_connection: int) -> None:
    """Send requests and print what was measured, as JSON."""
    selector = selectors.DefaultSelector()
    clients = [_Client((address, port), per_connection) for _ in range(connections)]
    for client in clients:
        selector.register(client.connection, selectors.EVENT_READ, client)
    took: list[float] = []
    before = time.perf_counter()
    while len(took) < requests:
        for key, _ in selector.select():
            client = key.data
            seconds = client.receive()
            if seconds is None:
                continue
            took.append(seconds)
            old = client.connection
            if client.connection.fileno() == key.fd:
                selector.unregister(old)
            client.next_request()
            selector.register(client.connection, selectors.EVENT_READ, client)
    seconds = time.perf_counter() - before
    took.sort()
    p99_ms = took[int(len(took) * 0.99)] * 1000
    sys.stdout.write(json.dumps({"per_second": len(took) / seconds, "p99_ms": p99_ms}) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    numbers = [int(word) for word in sys.argv[3:]]
    drive(sys.argv[2], *numbers)
