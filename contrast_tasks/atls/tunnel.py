"""Moves bytes between an established TLS session and the one local connection of a gRPC channel, in one thread.

The local end is a Unix socket in a private directory. It accepts once and is then unlinked, so the channel cannot reconnect: a
new connection needs a new handshake with a new nonce.
"""

import contextlib
import selectors
import shutil
import socket
import tempfile
import threading
from pathlib import Path

from OpenSSL import SSL

from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.session import READ_BYTES, ClientSession
from contrast_tasks.errors import ContrastError

_BUFFER_BYTES = 1024 * 1024  # with this much unsent in one direction, its source is not read


class Tunnel:
    """A running pump; `path` is the channel's Unix socket, `failure` says why the connection ended, once it has."""

    def __init__(self, session: ClientSession, link: socket.socket) -> None:
        self._session, self._link = session, link
        self._folder = Path(tempfile.mkdtemp(prefix="contrast-atls-"))  # 0700
        self.path = self._folder / "tunnel.sock"
        self.failure: ContrastError | None = None
        self._listener: socket.socket | None = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(1)
        self._wake_out, self._wake_in = socket.socketpair()
        self._local: socket.socket | None = None
        self._to_peer, self._to_local = bytearray(session.pending()), bytearray()
        self._verdict = threading.Event()
        self._closing = False
        self._peer_ended = False
        self._selector = selectors.DefaultSelector()
        self._thread = threading.Thread(target=self._run, name="atls-tunnel", daemon=True)
        for end in (self._listener, self._link):
            end.setblocking(False)  # noqa: FBT003  # the socket API has it so
        self._thread.start()

    def wait_for_verdict(self, timeout_s: float) -> ContrastError | None:
        """Return why the server ended the connection, None if it accepted us.

        In TLS 1.3 the client's handshake is complete before the server has judged the client. A server that accepts us sends
        its HTTP/2 settings at once, another one sends an alert. Silence counts as acceptance.
        """
        self._verdict.wait(timeout_s)
        return self.failure

    def close(self) -> None:
        """Close both ends and join the thread; may be called again."""
        self._closing = True
        with contextlib.suppress(OSError):
            self._wake_in.send(b"x")
        self._thread.join()
        self._wake_out.close()
        self._wake_in.close()

    def _run(self) -> None:
        try:
            self._selector.register(self._wake_out, selectors.EVENT_READ)
            self._decrypt()
            while not self._closing and not self._over():
                self._watch(self._link, self._link_events())
                self._watch(self._listener, selectors.EVENT_READ)
                self._watch(self._local, self._local_events())
                self._turn(self._selector.select())
        except OSError as err:
            self._end(HandshakeFailed(f"the connection broke: {(err.strerror or '').lower()}"))
        finally:
            self._end(HandshakeFailed("the connection was closed"))
            self._selector.close()
            for end in (self._link, self._local, self._listener):
                if end is not None:
                    end.close()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _over(self) -> bool:
        return self._peer_ended and (self._local is None or not self._to_local)

    def _link_events(self) -> int:
        reading = not self._peer_ended and len(self._to_local) < _BUFFER_BYTES
        return (selectors.EVENT_READ if reading else 0) | (
            selectors.EVENT_WRITE if self._to_peer else 0
        )

    def _local_events(self) -> int:
        reading = len(self._to_peer) < _BUFFER_BYTES
        return (selectors.EVENT_READ if reading else 0) | (
            selectors.EVENT_WRITE if self._to_local else 0
        )

    def _watch(self, end: socket.socket | None, events: int) -> None:
        if end is None:
            return
        registered = end in self._selector.get_map()
        if events and not registered:
            self._selector.register(end, events)
        elif registered and not events:
            self._selector.unregister(end)
        elif registered and self._selector.get_key(end).events != events:
            self._selector.modify(end, events)

    def _turn(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, events in ready:
            if key.fileobj is self._link:
                if events & selectors.EVENT_READ:
                    self._read_link()
                if events & selectors.EVENT_WRITE:
                    self._send_link()
            elif key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is self._local:
                if events & selectors.EVENT_READ:
                    self._read_local()
                if events & selectors.EVENT_WRITE and self._local is not None:
                    _drain_into(self._local, self._to_local)

    def _accept(self) -> None:
        if self._listener is None:
            return
        self._local, _ = self._listener.accept()
        self._local.setblocking(False)  # noqa: FBT003  # the socket API has it so
        self._selector.unregister(self._listener)
        self._listener.close()
        self._listener = None
        self.path.unlink(missing_ok=True)

    def _send_link(self) -> None:
        try:
            _drain_into(self._link, self._to_peer)
        except OSError:
            # The peer is gone, but its alert with the reason may be unread.
            self._to_peer.clear()
            self._read_link()
            self._end(HandshakeFailed("the server closed the connection"))
            self._peer_ended = True

    def _read_link(self) -> None:
        try:
            received = self._link.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not received:
            self._end(HandshakeFailed("the server closed the connection"))
            self._peer_ended = True
            return
        self._session.connection.bio_write(received)
        self._decrypt()

    def _decrypt(self) -> None:
        connection = self._session.connection
        try:
            while True:
                self._to_local += connection.recv(READ_BYTES)
                self._verdict.set()
        except SSL.WantReadError:
            pass
        except SSL.Error as err:
            self._end(self._session.explain(err))
            self._peer_ended = True
        self._to_peer += self._session.pending()
        if self._local is not None and self._to_local:
            _drain_into(self._local, self._to_local)

    def _read_local(self) -> None:
        if self._local is None:
            return
        try:
            plain = self._local.recv(READ_BYTES)
        except BlockingIOError:
            return
        if not plain:
            with contextlib.suppress(SSL.Error):
                self._session.connection.shutdown()
            self._to_peer += self._session.pending()
            self._send_link()
            self._closing = True
            return
        try:
            self._session.connection.sendall(plain)
        except SSL.Error as err:
            # The peer ended the session and receives nothing more.
            self._end(self._session.explain(err))
            self._peer_ended = True
            return
        self._to_peer += self._session.pending()
        self._send_link()

    def _end(self, failure: ContrastError) -> None:
        if self.failure is None:
            self.failure = failure
        self._verdict.set()


def _drain_into(target: socket.socket, waiting: bytearray) -> None:
    while waiting:
        try:
            sent = target.send(waiting)
        except BlockingIOError:
            return
        del waiting[:sent]
