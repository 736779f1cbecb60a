"""The end of `kubectl port-forward` at a pod: SPDY/3.1 over an upgraded connection. Source: SPDY protocol, draft 3.1; Kubernetes API.

For each connection kubectl opens two streams, the first for what goes wrong and the second for bytes. Headers say so too; they are
not read here, since that takes a dictionary of words.
"""

import select
import socket
import ssl
import struct
import zlib
from collections.abc import Callable

_CONTROL, _SYN_STREAM, _SYN_REPLY, _PING = 0x8003, 1, 2, 6
_FIN = 1
_HEADER = struct.Struct(">IB")
Connect = Callable[[], socket.socket]


class PortForward:
    """Serves one connection of kubectl until it ends; connect: to what listens in the pod."""

    def __init__(self, peer: ssl.SSLSocket, connect: Connect) -> None:
        self._peer, self._connect = peer, connect
        self._received = b""
        # One stream of compressed headers for all frames; ours are empty.
        self._headers = zlib.compressobj()
        self._opened: list[int] = []
        self._targets: dict[int, socket.socket] = {}

    def serve(self) -> None:
        """Pass bytes on, in both directions."""
        try:
            while True:
                sources = [self._peer, *self._targets.values()]
                ready = [self._peer] if self._peer.pending() else select.select(sources, [], [])[0]
                if self._peer in ready:
                    piece = self._peer.recv(65536)
                    if not piece:
                        return
                    self._received += piece
                    self._read_frames()
                for stream, target in list(self._targets.items()):
                    if target in ready:
                        self._pass_back(stream, target)
        finally:
            for target in self._targets.values():
                target.close()

    def _read_frames(self) -> None:
        while len(self._received) >= 8:  # of every frame's head
            first, flags = _HEADER.unpack_from(self._received)
            end = 8 + int.from_bytes(self._received[5:8], "big")
            if len(self._received) < end:
                return
            content, self._received = self._received[8:end], self._received[end:]
            if first >> 16 == _CONTROL:
                self._control(first & 0xFFFF, content)
            elif first in self._targets:
                self._targets[first].sendall(content)
                if flags & _FIN:
                    self._targets[first].shutdown(socket.SHUT_WR)

    def _control(self, kind: int, content: bytes) -> None:
        if kind == _PING:
            self._send(_CONTROL << 16 | _PING, content)
        if kind != _SYN_STREAM:
            return
        stream = int.from_bytes(content[:4], "big")
        block = self._headers.compress(bytes(4)) + self._headers.flush(zlib.Z_SYNC_FLUSH)
        self._send(_CONTROL << 16 | _SYN_REPLY, content[:4] + block)
        self._opened.append(stream)
        if len(self._opened) % 2:
            return
        try:
            self._targets[stream] = self._connect()
        except OSError as err:
            told = f"dial tcp4: connect: {err.strerror}".lower()
            self._send(self._opened[-2], told.encode(), _FIN)
            self._send(stream, b"", _FIN)

    def _pass_back(self, stream: int, target: socket.socket) -> None:
        piece = target.recv(65536)
        self._send(stream, piece, 0 if piece else _FIN)
        if not piece:
            self._targets.pop(stream).close()
            self._send(self._opened[self._opened.index(stream) - 1], b"", _FIN)

    def _send(self, first: int, content: bytes, flags: int = 0) -> None:
        self._peer.sendall(_HEADER.pack(first, flags) + len(content).to_bytes(3, "big") + content)
