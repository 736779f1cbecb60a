"""One GET against servers on this machine that answer with whatever bytes a test names, or hold their answer back."""

import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from contrast_tasks.web.answers import Answer, AnswerTooLarge, CannotAsk, NoAnswer, NotTrusted
from contrast_tasks.web.client import Bound, HttpClient, fetch_once
from tests.fakes.registry import FakeRegistry

SOON_S = 0.15
PATIENT_S = 20.0
PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


LIMIT = 4 * 1024 * 1024


def http_get(url: str, seconds: float, **options: Any) -> Answer:
    return fetch_once(url, Bound(max_bytes=LIMIT, seconds=seconds), **options)


class Wire:
    """Accepts connections one after the other, keeps each request's head, and sends `pieces`; then closes, unless it `holds`."""

    def __init__(
        self, *pieces: bytes, holds: bool = False, context: ssl.SSLContext | None = None
    ) -> None:
        self.heads: list[str] = []
        self._pieces, self._holds, self._context = pieces, holds, context
        self._released = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._server.accept()
            except OSError:
                return
            with peer:
                try:
                    self._speak(peer)
                except OSError:
                    continue

    def _speak(self, peer: socket.socket) -> None:
        spoken = (
            peer if self._context is None else self._context.wrap_socket(peer, server_side=True)
        )
        with spoken:
            head = b""
            while b"\r\n\r\n" not in head and (read := spoken.recv(4096)):
                head += read
            self.heads.append(head.decode("latin-1"))
            for piece in self._pieces:
                spoken.sendall(piece)
            if self._holds:
                self._released.wait(PATIENT_S)

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self._thread.join()


Serve = Callable[..., Wire]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started: list[Wire] = []

    def start(*pieces: bytes, **options: object) -> Wire:
        started.append(Wire(*pieces, **options))  # type: ignore[arg-type]  # passed on as they are
        return started[-1]

    yield start
    for wire in started:
        wire.stop()


def body(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
    return "\r\n".join(head).encode() + content


def test_status_headers_and_body_come_as_they_are(serve: Serve) -> None:
    wire = serve(body(b"\0\1", "418 Other", "X-Chain: %0A", "Retry-After: 3"))

    answer = http_get(f"http://{wire.place}/a/b?c=d&e=f", PATIENT_S)

    assert (answer.status, answer.body) == (418, b"\0\1")
    assert (answer.headers["x-chain"], answer.headers["retry-after"]) == ("%0A", "3")
    request, *headers = wire.heads[0].strip().split("\r\n")
    assert request == "GET /a/b?c=d&e=f HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        f"Host: {wire.place}",
        "User-Agent: contrast-tasks",
    ]


def test_headers_of_the_caller_are_sent(serve: Serve) -> None:
    wire = serve(body(b""))

    http_get(f"http://{wire.place}", PATIENT_S, headers={"Metadata": "true"})

    assert wire.heads[0].startswith("GET / HTTP/1.1\r\n")
    assert "\r\nMetadata: true\r\n" in wire.heads[0]


def test_a_redirect_is_an_answer_and_is_not_followed(serve: Serve) -> None:
    elsewhere = serve(body(b"other"))
    wire = serve(body(b"", "302 Found", f"Location: http://{elsewhere.place}/"))

    assert http_get(f"http://{wire.place}/", PATIENT_S).status == 302
    assert elsewhere.heads == []


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param((), id="nothing at all"),
        pytest.param((b"HTTP/1.1 200 OK\r\nX: ",), id="half a header"),
        pytest.param((b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"x"), id="half a body"),
        pytest.param((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",), id="chunk"),
    ],
)
def test_a_service_that_stalls_is_cut_off_in_time(serve: Serve, pieces: tuple[bytes, ...]) -> None:
    wire = serve(*pieces, holds=True)

    with pytest.raises(NoAnswer, match="takes too long"):
        http_get(f"http://{wire.place}/", SOON_S)


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nX: ", id="headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", id="a body"),
        pytest.param(b"HTTP/1.0 200 OK\r\n\r\n", id="a body that ends with the connection"),
    ],
)
def test_a_service_that_drips_is_cut_off_like_one_that_stalls(start: bytes) -> None:
    sent = threading.Event()

    def drip(server: socket.socket) -> None:
        peer, _ = server.accept()
        with peer:
            peer.sendall(start)
            try:
                # Each byte comes long before the time of one read is over.
                while not sent.wait(SOON_S / 10):
                    peer.sendall(b"x")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        try:
            with pytest.raises(NoAnswer, match="takes too long"):
                http_get(f"http://127.0.0.1:{server.getsockname()[1]}/", SOON_S)
        finally:
            sent.set()
            thread.join()


def test_a_handshake_that_never_ends_is_cut_off(serve: Serve) -> None:
    wire = serve(b"\x16\x03\x03", holds=True)

    with pytest.raises(NoAnswer, match="takes too long"):
        http_get(f"https://{wire.place}/", SOON_S)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", id="shorter than told"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", id="in a chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="no chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", id="200 headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + bytes(70_000), id="an endless header"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 2oo OK\r\n\r\n", id="no number"),
        pytest.param(b"", id="nothing"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_failure_and_not_a_crash(serve: Serve, sent: bytes) -> None:
    wire = serve(sent)

    with pytest.raises(NoAnswer):
        http_get(f"http://{wire.place}/", PATIENT_S)


@pytest.mark.parametrize(
    ("sent", "told", "is_final"),
    [
        pytest.param(b"", "it closed the connection without an answer", False, id="hangs-up"),
        pytest.param(b"SSH-2.0-OpenSSH\r\n", "its answer is no HTTP", True, id="other-protocol"),
        pytest.param(b"HTTP/1.1 2\r\n", "its answer is no HTTP", False, id="cut"),
    ],
)
def test_what_listens_there_instead_is_told_in_words(
    serve: Serve, sent: bytes, told: str, *, is_final: bool
) -> None:
    wire = serve(sent)

    with pytest.raises(NoAnswer) as caught:
        http_get(f"http://{wire.place}/", SOON_S)

    assert str(caught.value) == told
    assert isinstance(caught.value, CannotAsk) is is_final


def test_tls_with_a_service_without_it_is_told_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(4096)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NoAnswer) as caught:
            http_get(f"https://127.0.0.1:{server.getsockname()[1]}/", SOON_S)
        thread.join()

    # OpenSSL's words for it differ from version to version.
    assert str(caught.value).startswith("no TLS connection comes about: ")
    assert "_ssl.c" not in str(caught.value)


def test_a_body_longer_than_told_ends_where_it_was_told(serve: Serve) -> None:
    wire = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nlonger")

    assert http_get(f"http://{wire.place}/", PATIENT_S).body == b"lo"


def test_a_huge_body_is_read_up_to_one_byte_too_many_and_little_more(serve: Serve) -> None:
    wire = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", bytes(2 * LIMIT))
    into = BytesIO()

    with HttpClient() as client, pytest.raises(AnswerTooLarge, match="more than the 4194304 bytes"):
        client.ask(f"http://{wire.place}/", Bound(max_bytes=LIMIT, seconds=PATIENT_S), into=into)

    assert LIMIT - 64 * 1024 <= into.tell() <= LIMIT


def test_of_a_refusal_only_the_beginning_is_read(serve: Serve) -> None:
    wire = serve(b"HTTP/1.1 404 Not Found\r\nContent-Length: 999999999\r\n\r\n", bytes(LIMIT))

    answer = http_get(f"http://{wire.place}/", PATIENT_S)

    assert (answer.status, len(answer.body) <= 64 * 1024) == (404, True)


def test_nobody_at_the_address_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"

    with pytest.raises(NoAnswer, match="connection refused"):
        http_get(f"http://{place}/", PATIENT_S)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/",
        "file:///etc/passwd",
        "http://",
        "http://a:b/",
        "http://[x/",
        "x",
        "http://u:p@127.0.0.1/",
    ],
)
def test_other_addresses_are_not_understood(url: str) -> None:
    with pytest.raises(CannotAsk, match="address is not understood"):
        http_get(url, SOON_S)


@pytest.mark.parametrize("name", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_a_proxy_is_the_one_for_the_addresss_scheme_or_for_all(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    proxy, service = serve(body(b"by proxy")), serve(body(b"itself"))
    monkeypatch.setenv(name, f"http://{proxy.place}")

    answer = http_get(f"http://{service.place}/", PATIENT_S)

    assert answer.body == (b"itself" if name == "HTTPS_PROXY" else b"by proxy")


def test_a_proxy_of_the_environment_sees_the_whole_address(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(body(b"by proxy"))
    monkeypatch.setenv("http_proxy", f"http://user:p%40ss@{proxy.place}")

    assert http_get("http://vendor.example/x?y=z", PATIENT_S).body == b"by proxy"

    assert proxy.heads[0].startswith("GET http://vendor.example/x?y=z HTTP/1.1\r\n")
    assert "\r\nHost: vendor.example\r\n" in proxy.heads[0]
    assert "\r\nproxy-authorization: Basic dXNlcjpwQHNz\r\n" in proxy.heads[0]


def test_a_proxy_that_is_given_takes_the_place_of_the_environments(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, other = serve(body(b"given")), serve(body(b"other"))
    monkeypatch.setenv("http_proxy", f"http://{other.place}")
    proxy = f"http://{given.place}"

    through = http_get("http://vendor.example/", PATIENT_S, proxy=proxy)
    direct = http_get(f"http://{other.place}/", PATIENT_S, proxy=proxy, direct=True)

    assert (through.body, direct.body) == (b"given", b"other")
    assert given.heads[0].startswith("GET http://vendor.example/ ")


def test_a_proxy_is_asked_for_a_tunnel_to_a_service_with_tls(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = serve(b"HTTP/1.1 403 Forbidden\r\n\r\n")
    monkeypatch.setenv("HTTPS_PROXY", proxy.place)

    with pytest.raises(NoAnswer, match="the proxy gives no tunnel: HTTP status 403"):
        http_get("https://vendor.example/x", PATIENT_S)

    assert proxy.heads[0].startswith("CONNECT vendor.example:443 HTTP/1.")


@pytest.mark.parametrize("how", ["no_proxy", "direct"])
def test_no_proxy_is_asked_where_none_is_wanted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    proxy, service = serve(body(b"by proxy")), serve(body(b"itself"))
    monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
    if how == "no_proxy":
        monkeypatch.setenv("no_proxy", "127.0.0.1")

    answer = http_get(f"http://{service.place}/", PATIENT_S, direct=how == "direct")

    assert answer.body == b"itself"
    assert proxy.heads == []


def test_a_proxy_of_another_kind_is_said_not_to_be_understood(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")

    with pytest.raises(NoAnswer, match="the proxy for http is not an http://"):
        http_get("http://vendor.example/", PATIENT_S)


@pytest.mark.parametrize(
    "proxy", ["http://user:secret#1@127.0.0.1:1", "user:secret/1@127.0.0.1:1", "u:secret@[::1:1"]
)
def test_nothing_of_a_proxys_password_is_told(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setenv("https_proxy", proxy)

    with pytest.raises(NoAnswer, match="address is not understood: the proxy address") as caught:
        http_get("https://vendor.example/", SOON_S)

    told = "".join(traceback.format_exception(caught.value))
    assert "secret" not in told
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__cause__ is None


def test_authorities_that_cannot_be_read_are_said_to_be_the_cause(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="the certificate authorities cannot be read: no such file"):
        http_get("https://127.0.0.1/", SOON_S, authorities=(str(tmp_path / "absent.pem"),))


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a self-signed authority's file and a server context that uses it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mirror")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, SHA256())
    )
    path = tmp_path / "own.pem"
    path.write_bytes(certificate.public_bytes(Encoding.PEM))
    keys = tmp_path / "own.key"
    keys.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, keys)
    return path, context


def test_a_mirror_with_an_authority_of_its_own_is_trusted_by_file(
    serve: Serve, own: tuple[Path, ssl.SSLContext]
) -> None:
    wire = serve(body(b"secret"), context=own[1])
    port = wire.place.rpartition(":")[2]

    answer = http_get(f"https://localhost:{port}/", PATIENT_S, authorities=(str(own[0]),))

    assert answer.body == b"secret"


def test_a_service_whose_certificate_nobody_vouches_for_is_not_asked(
    serve: Serve, own: tuple[Path, ssl.SSLContext]
) -> None:
    wire = serve(body(b"secret"), context=own[1])
    port = wire.place.rpartition(":")[2]

    with pytest.raises(NotTrusted, match="its certificate is not trusted: self-signed"):
        http_get(f"https://localhost:{port}/", PATIENT_S)
    with pytest.raises(NoAnswer, match="its certificate is not trusted: IP address mismatch"):
        http_get(f"https://{wire.place}/", PATIENT_S, authorities=(str(own[0]),))

    assert wire.heads == []


def test_connections_are_kept_for_the_next_request() -> None:
    with FakeRegistry() as server, HttpClient() as client:
        bound = Bound(max_bytes=LIMIT, seconds=PATIENT_S)
        for _ in range(3):
            client.ask(f"{server.address}/elsewhere", bound)

        assert len({seen.peer for seen in server.seen}) == 1


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [("127.0.0.0/8", True), ("10.0.0.0/8, 127.0.0.1/32", True), ("10.0.0.0/8", False)],
)
def test_networks_can_be_excepted_from_the_proxy(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, no_proxy: str, is_direct: bool
) -> None:
    proxy, service = serve(body(b"by proxy")), serve(body(b"itself"))
    monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
    monkeypatch.setenv("no_proxy", no_proxy)

    answer = http_get(f"http://{service.place}/", PATIENT_S)

    assert answer.body == (b"itself" if is_direct else b"by proxy")
