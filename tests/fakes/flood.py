"""Connections that mean no good: `python -m tests.fakes.flood COUNT ADDRESSES PORT...` opens them and prints a line when all are open.

They come from several addresses of loopback and go to the ports in turn. Each sends nothing, a byte now and then, nonsense, too much, the
beginning of a request, or a whole client hello and no more. What the other side closes is opened again, up to 1,000 a second. It lasts
until stdin ends; then it prints how many were opened in all.
"""

import contextlib
import random
import resource
import selectors
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from contrast_tasks.atls.session import ClientSession
from contrast_tasks.atls.types import utc_now

CONNECTIONS = 10_000
_ADDRESSES = 40
_ROOT = Path(__file__).parents[2]
_SPARE = 200
_TURN_S = 0.25
_AT_ONCE, _AGAIN = 100, 250
_RESET = struct.pack("ii", 1, 0)


@contextlib.contextmanager
def flood(ports: Iterable[int]) -> Iterator[threading.Event]:
    """Attack the ports with CONNECTIONS; yields what is set as soon as all connections were opened."""
    words = map(str, (CONNECTIONS, _ADDRESSES, *ports))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.flood", *words],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told, is_open = process.stdout, threading.Event()

    def wait() -> None:
        if told.readline():
            is_open.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    try:
        yield is_open
        waiting.join()
        assert int(process.communicate(timeout=60)[0]) >= CONNECTIONS
    finally:
        process.kill()
        waiting.join()
        process.communicate()


def client_hello() -> bytes:
    """Return the first message of a client that does attested TLS."""
    session = ClientSession(validators=None, issuer=None, client_key=None, clock=utc_now)
    session.advance()
    return session.pending()


def kinds() -> Sequence[bytes]:
    """Return what the connections of each kind begin with."""
    return (
        b"",
        b"\x16",
        random.Random(1).randbytes(4000),
        b"\x16\x03\x01\x3f\xff\x01\x00\xff\xff" + b"\x03" * 200_000,
        b"POST /attest HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{",
        b"GET /" + b"x" * 100_000,
        client_hello(),
    )


class Flood:
    """The open connections."""

    def __init__(self, count: int, addresses: int, ports: Sequence[int]) -> None:
        self.opened = 0
        self._count, self._addresses, self._ports = count, addresses, ports
        self._kinds = kinds()
        self._selector = selectors.DefaultSelector()

    def run(self, stop: threading.Event) -> None:
        """Open all of them, say so, and keep as many open."""
        while self.opened < self._count:
            for _ in range(_AT_ONCE):
                self._open()
            self._turn()
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while not stop.wait(_TURN_S):
            links = list(self._selector.get_map().values())
            for key in links:
                with contextlib.suppress(OSError):
                    key.fileobj.send(b"\0")  # type: ignore[union-attr]  # sockets only
            self._turn()
            for _ in range(min(_AGAIN, self._count - len(links))):
                self._open()

    def _open(self) -> None:
        number = self.opened
        self.opened += 1
        link = socket.socket()
        link.setblocking(False)  # noqa: FBT003  # the socket API has it so
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        address = number % self._addresses
        link.bind((f"127.66.{address // 250}.{address % 250 + 1}", 0))
        link.connect_ex(("127.0.0.1", self._ports[number % len(self._ports)]))
        content = self._kinds[number // len(self._ports) % len(self._kinds)]
        self._selector.register(link, selectors.EVENT_WRITE, content)

    def _turn(self) -> None:
        """Send what each connection begins with, and forget those that were closed."""
        for key, events in self._selector.select(0):
            link: socket.socket = key.fileobj  # type: ignore[assignment]  # sockets only
            try:
                if events & selectors.EVENT_WRITE:
                    link.send(key.data)
                    self._selector.modify(link, selectors.EVENT_READ, key.data)
                    continue
                if link.recv(65536):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            self._selector.unregister(link)
            link.close()


def main(words: Sequence[str]) -> None:
    """Run until stdin ends."""
    count, addresses, *ports = map(int, words)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    stop = threading.Event()
    flood = Flood(min(count, most - _SPARE), addresses, ports)
    thread = threading.Thread(target=flood.run, args=(stop,))
    thread.start()
    sys.stdin.read()
    stop.set()
    thread.join()
    sys.stdout.write(f"{flood.opened}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
