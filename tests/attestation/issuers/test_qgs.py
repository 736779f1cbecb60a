"""The host's quote generation service, imitated at the other end of a socket pair; it can answer with anything."""

import errno
import socket
import struct
import threading
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.attestation.issuers.qgs import QuoteService
from contrast_tasks.attestation.issuers.tsm import IssuerError

REPORT = bytes(range(256)) * 4
QUOTE = b"quote" * 1000


def response(
    quote: bytes = QUOTE,
    *,
    major: int = 1,
    kind: int = 1,
    error: int = 0,
    key_id: bytes = b"",
    size: int | None = None,
    quote_bytes: int | None = None,
) -> bytes:
    told = len(quote) if quote_bytes is None else quote_bytes
    body = struct.pack("<II", len(key_id), told) + key_id + quote
    total = 16 + len(body) if size is None else size
    return struct.pack("<HHIII", major, 1, kind, total, error) + body


def framed(message: bytes) -> bytes:
    return struct.pack(">I", len(message)) + message


def answering(*pieces: bytes) -> tuple[QuoteService, list[bytes], Callable[[], None]]:
    """Return a client whose service reads one request, sends `pieces` and closes; what it read; and how to end it."""
    ours, theirs = socket.socketpair()
    read: list[bytes] = []

    def serve() -> None:
        with theirs:
            request = b""
            while len(request) < 4 + 24 + len(REPORT):
                piece = theirs.recv(65536)
                if not piece:
                    return
                request += piece
            read.append(request)
            for piece in pieces:
                theirs.sendall(piece)

    thread = threading.Thread(target=serve)
    thread.start()
    return QuoteService(lambda: ours), read, thread.join


def test_the_request_is_framed_and_carries_the_whole_report() -> None:
    service, read, end = answering(framed(response()))

    quote = service(REPORT)
    end()

    header = struct.pack(">I", 24 + 1024) + struct.pack("<HHIII", 1, 0, 0, 24 + 1024, 0)
    assert quote == QUOTE
    assert read == [header + struct.pack("<II", 1024, 0) + REPORT]


def test_an_answer_may_come_in_pieces_and_with_a_key_id() -> None:
    message = framed(response(key_id=b"\7" * 16))
    service, _, end = answering(message[:2], message[2:30], message[30:])

    assert service(REPORT) == QUOTE
    end()


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        pytest.param(b"", "ended after 0 of 4 bytes", id="nothing"),
        pytest.param(b"\0\0", "ended after 2 of 4 bytes", id="half a length"),
        pytest.param(framed(response())[:-1], "ended after 5023 of 5024 bytes", id="cut short"),
        pytest.param(b"\xff" * 4, "announces 4294967295 bytes", id="4 GiB"),
        pytest.param(framed(b"\0" * 15), "answered with 15 bytes only", id="no header"),
        pytest.param(framed(b""), "answered with 0 bytes only", id="empty"),
        pytest.param(framed(response(major=2)), "in version 2", id="another version"),
        pytest.param(framed(response(kind=3)), "with type 3", id="another message"),
        pytest.param(framed(response(size=16)), "size 16, wanted", id="another size"),
        pytest.param(framed(response(error=0x12001)), "refused with error 0x12001", id="refusal"),
        pytest.param(framed(response(quote_bytes=1)), "quote of 1 bytes", id="trailing bytes"),
        pytest.param(framed(response(quote_bytes=0xFFFFFFFF)), "4294967295 bytes", id="overflow"),
        pytest.param(
            framed(struct.pack("<HHIII", 1, 0, 1, 16, 0)), "a header only", id="header only"
        ),
    ],
)
def test_an_answer_of_another_form_is_a_clear_error(sent: bytes, message: str) -> None:
    service, _, end = answering(sent)

    with pytest.raises(IssuerError, match=message):
        service(REPORT)
    end()


def test_a_host_without_the_service_is_told_what_it_lacks() -> None:
    def refuse() -> socket.socket:
        raise OSError(errno.ECONNRESET, "Connection reset by peer")

    with pytest.raises(IssuerError, match="does not answer: Connection reset by peer") as caught:
        QuoteService(refuse)(REPORT)

    assert "vsock port 4050" in caught.value.hint


def test_a_service_that_drips_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    seconds = iter(range(0, 1000, 10))
    with theirs:
        theirs.sendall(b"\0\0")
        service = QuoteService(lambda: ours, monotonic=lambda: float(next(seconds)))

        with pytest.raises(IssuerError, match="does not answer: timed out"):
            service(REPORT)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_any_answer_is_a_quote_or_our_own_error(message: bytes) -> None:
    service, _, end = answering(framed(message))

    try:
        assert message.endswith(service(REPORT))
    except IssuerError:
        pass
    finally:
        end()
