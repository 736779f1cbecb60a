"""Quotes from the host's quote generation service, for guests whose kernel provides TD reports only.

The service listens on vsock port 4050 of the host. A frame is the length of a message in 4 bytes, big-endian, then the message:
a header (u16 major 1, u16 minor, u32 type, u32 size of the whole message, u32 error; little-endian), then for a request u32 report
size, u32 size of a list of key ids (none), report; for a response u32 id size, u32 quote size, id, quote.

Answers are not trusted: the issuer parses the quote, and the peer verifies it.

Source: Intel DCAP, messages GET_QUOTE_REQ and GET_QUOTE_RESP of the quote generation service (docs/internals/attestation.md 3.4, 7).
"""

import contextlib
import socket
import struct
import time
from collections.abc import Callable

from contrast_tasks.attestation.issuers.tsm import IssuerError

HOST_CID, PORT = 2, 4050
TIMEOUT_S = 15.0
_HEADER = struct.Struct("<HHIII")
_SIZES = struct.Struct("<II")
_LENGTH = struct.Struct(">I")
_MAJOR = 1
_REQUEST, _RESPONSE = 0, 1
# Quotes have 5 to 16 KiB.
_MAXIMUM_MESSAGE_BYTES = 128 * 1024


class QuoteService:
    """Turns TD reports into quotes, with one connection for each."""

    def __init__(
        self,
        connect: Callable[[], socket.socket] | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Use `connect`, which may raise OSError, to reach the service; by default over vsock."""
        self._connect = connect or _vsock
        self._monotonic = monotonic

    def __call__(self, report: bytes) -> bytes:
        """Return the quote for a TD report of 1024 bytes; raises IssuerError."""
        deadline_s = self._monotonic() + TIMEOUT_S
        try:
            with contextlib.closing(self._connect()) as connection:
                connection.settimeout(TIMEOUT_S)
                connection.sendall(_request(report))
                (size,) = _LENGTH.unpack(self._receive(connection, _LENGTH.size, deadline_s))
                if size > _MAXIMUM_MESSAGE_BYTES:
                    raise IssuerError(
                        f"the quote generation service announces {size} bytes, "
                        f"wanted at most {_MAXIMUM_MESSAGE_BYTES}"
                    )
                return _quote(self._receive(connection, size, deadline_s))
        except OSError as err:
            raise IssuerError(
                f"the quote generation service does not answer: {err.strerror or 'timed out'}",
                hint="the host must run it on vsock port 4050, and QEMU needs a vsock device",
            ) from err

    def _receive(self, connection: socket.socket, size: int, deadline_s: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            left_s = deadline_s - self._monotonic()
            if left_s <= 0:
                raise TimeoutError
            connection.settimeout(left_s)
            piece = connection.recv(size - len(received))
            if not piece:
                raise IssuerError(
                    f"the quote generation service ended after {len(received)} of {size} bytes"
                )
            received += piece
        return bytes(received)


def _request(report: bytes) -> bytes:
    body = _SIZES.pack(len(report), 0) + report
    size = _HEADER.size + len(body)
    return _LENGTH.pack(size) + _HEADER.pack(_MAJOR, 0, _REQUEST, size, 0) + body


def _quote(message: bytes) -> bytes:
    start = _HEADER.size + _SIZES.size
    if len(message) < _HEADER.size:
        raise IssuerError(f"the quote generation service answered with {len(message)} bytes only")
    major, _, kind, size, error = _HEADER.unpack_from(message)
    if (major, kind, size) != (_MAJOR, _RESPONSE, len(message)):
        raise IssuerError(
            f"the quote generation service answered in version {major} with type {kind} and size {size}, "
            f"wanted version {_MAJOR}, type {_RESPONSE} and size {len(message)}"
        )
    if error:
        raise IssuerError(
            f"the quote generation service refused with error {error:#x}",
            hint="see the log of qgsd on the host; the platform may not be registered",
        )
    if len(message) < start:
        raise IssuerError("the quote generation service answered with a header only")
    id_bytes, quote_bytes = _SIZES.unpack_from(message, _HEADER.size)
    if start + id_bytes + quote_bytes != len(message):
        raise IssuerError(
            f"the quote generation service announced a quote of {quote_bytes} bytes, but sent another number of bytes"
        )
    return message[start + id_bytes :]


def _vsock() -> socket.socket:
    connection = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect((HOST_CID, PORT))
    except OSError:
        connection.close()
        raise
    return connection
