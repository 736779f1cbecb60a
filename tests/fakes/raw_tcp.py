"""A client that sends single TCP segments over IPv4, for what no honest kernel does."""

import socket
import struct

FIN, SYN, RST, ACK = 1, 2, 4, 16
_HEADER = 20
# The pod's kernel sends with 64; a rule can tell the two apart.
TTL = 63


class RawClient:
    """Segments between one port of ours and one of the pod; `received` are flags, sequence number and payload."""

    def __init__(self, source: str, target: str, port: int, source_port: int) -> None:
        self._ends = socket.inet_aton(source) + socket.inet_aton(target)
        self._target, self.port, self.source_port = target, port, source_port
        self._out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self._in = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        self._in.settimeout(0.5)

    def close(self) -> None:
        self._out.close()
        self._in.close()

    def send(self, flags: int, sequence: int, acknowledged: int = 0, payload: bytes = b"") -> None:
        ports = (self.source_port, self.port)
        head = struct.pack("!HHIIBBHHH", *ports, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
        pseudo = self._ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(head + payload))
        total = struct.pack("!H", _checksum(pseudo + head + payload))
        segment = head[:16] + total + head[18:] + payload
        packet = struct.pack(
            "!BBHHHBBH8s",
            *(0x45, 0, _HEADER + len(segment), 1, 0, TTL, socket.IPPROTO_TCP, 0, self._ends),
        )
        self._out.sendto(packet + segment, (self._target, 0))

    def receive(self) -> tuple[int, int, bytes] | None:
        """Return flags, sequence number and payload of the next segment from the pod's port; None if none comes."""
        while True:
            try:
                packet = self._in.recv(65536)
            except TimeoutError:
                return None
            ports = struct.unpack("!HH", packet[_HEADER : _HEADER + 4])
            if ports == (self.port, self.source_port):
                sequence, offset, flags = struct.unpack("!I4xBB", packet[24:34])
                return flags, sequence, packet[_HEADER + (offset >> 4) * 4 :]

    def until_silent(self, quiet: int = 2) -> bytes:
        """Return what comes until nothing has come for so many halves of a second."""
        payload, silent = b"", 0
        while silent < quiet:
            segment = self.receive()
            silent = silent + 1 if segment is None else 0
            payload += b"" if segment is None else segment[2]
        return payload

    def open(self, sequence: int, payload: bytes = b"", attempts: int = 60) -> int:
        """Shake hands from `sequence`, however often it takes, with a payload in the last step; return the pod's number."""
        for _ in range(attempts):
            self.send(SYN, sequence)
            while (segment := self.receive()) is not None:
                flags, number, _ = segment
                if flags & (SYN | ACK) == SYN | ACK:
                    self.send(ACK, sequence + 1, number + 1, payload)
                    return number
        raise AssertionError("the pod answers no connection attempt")


def _checksum(content: bytes) -> int:
    padded = content + b"\0" * (len(content) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
