"""Peers that share no code with ours: the openssl command and the interpreter's own ssl module."""

import base64
import contextlib
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from contrast_tasks.atls.certificate import make_certificate, new_key, report_data, spki_der
from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.server import AtlsServer, serve
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_SNP
from tests.fakes.atls import (
    NOW,
    SERVER_KEY,
    FakeIssuer,
    FakeValidator,
    client_session,
    clock,
    echo,
    server_session,
)

NONCE = bytes.fromhex("fb" * 31 + "ef")  # its base64 has `+`, `/` and `=`
NONCE_TEXT = base64.b64encode(NONCE).decode()
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl command")


@contextlib.contextmanager
def serving(**changes: Any) -> Iterator[AtlsServer]:
    arguments: dict[str, Any] = {
        "listen": ("127.0.0.1", 0),
        "issuer": FakeIssuer(),
        "key": SERVER_KEY,
        "clock": clock,
        **changes,
    }
    with serve(echo, **arguments) as server:
        yield server


@pytest.fixture(scope="module")
def one_sided() -> Iterator[int]:
    with serving() as server:
        yield server.port


@pytest.fixture(scope="module")
def mutual() -> Iterator[int]:
    with serving(require_client=lambda: ([FakeValidator()], None)) as server:
        yield server.port


def s_client(port: int, *arguments: str) -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments]
    found = subprocess.run(command, input=b"", capture_output=True, timeout=30, check=False)
    return found.stdout.decode(errors="replace") + found.stderr.decode(errors="replace")


def good(port: int, *arguments: str) -> str:
    return s_client(
        port, "-servername", NONCE_TEXT, "-alpn", "h2", "-tls1_3", "-showcerts", *arguments
    )


def bound_to(certificate: x509.Certificate, nonce: bytes) -> bool:
    (extension,) = certificate.extensions
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    document = FakeIssuer().issue(report_data(spki, nonce))
    return extension.oid.dotted_string == OID_SNP and extension.value.public_bytes() == document


@needs_openssl
def test_openssl_sees_evidence_over_its_nonce_and_the_servers_nonce(one_sided: int) -> None:
    output = good(one_sided)

    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", output, re.DOTALL)
    assert pem is not None
    assert bound_to(x509.load_pem_x509_certificate(pem.group().encode()), NONCE)
    name = re.search(
        r"Acceptable client certificate CA names\n\s*CN ?= ?\"?([^\s\"]+)\"?\n", output
    )
    assert name is not None
    assert len(base64.b64decode(name.group(1), validate=True)) == 32
    assert "ALPN protocol: h2" in output
    assert "TLSv1.3" in output


@needs_openssl
def test_openssl_may_send_its_nonce_by_alpn(one_sided: int) -> None:
    entry = f"atls:v1:nonce:{NONCE.hex()},h2"

    output = s_client(one_sided, "-noservername", "-alpn", entry, "-tls1_3", "-showcerts")

    pem = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", output, re.DOTALL)
    assert pem is not None
    assert bound_to(x509.load_pem_x509_certificate(pem.group().encode()), NONCE)
    assert "ALPN protocol: h2" in output


@needs_openssl
@pytest.mark.parametrize(
    ("arguments", "alert"),
    [
        pytest.param(["-servername", "localhost", "-alpn", "h2"], "40", id="name is no nonce"),
        pytest.param(["-noservername", "-alpn", "h2"], "40", id="no name"),
        pytest.param(["-servername", NONCE_TEXT, "-alpn", "http/1.1"], "120", id="no h2"),
        pytest.param(["-servername", NONCE_TEXT], "40", id="no alpn"),
        pytest.param(
            ["-servername", NONCE_TEXT, "-alpn", "atls:v2:nonce:00,h2"], "40", id="version 2"
        ),
        pytest.param(["-servername", NONCE_TEXT, "-alpn", "h2", "-tls1_2"], "70", id="tls 1.2"),
    ],
)
def test_openssl_is_answered_by_an_alert(one_sided: int, arguments: list[str], alert: str) -> None:
    output = s_client(one_sided, *arguments)

    assert f"SSL alert number {alert}" in output
    assert "BEGIN CERTIFICATE" not in output
    assert "nonce" not in output.replace("atls:v2:nonce", "")


@needs_openssl
def test_openssl_without_a_certificate_is_refused_by_a_mutual_server(mutual: int) -> None:
    output = s_client(mutual, "-servername", NONCE_TEXT, "-alpn", "h2", "-tls1_3", "-ign_eof")

    assert "SSL alert number 116" in output


@needs_openssl
def test_openssl_with_a_certificate_without_evidence_is_refused_by_a_mutual_server(
    mutual: int, tmp_path: Path
) -> None:
    cert, key = owner_files(tmp_path, ec.generate_private_key(ec.SECP384R1()))

    output = good(mutual, "-cert", cert, "-key", key, "-ign_eof")

    assert "SSL alert number 48" in output


@needs_openssl
@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["p-384", "rsa"],
)
def test_openssl_with_an_owner_key_is_accepted_by_a_one_sided_server(
    one_sided: int, tmp_path: Path, key: Any
) -> None:
    cert, file = owner_files(tmp_path, key)

    output = good(one_sided, "-cert", cert, "-key", file)

    assert "ALPN protocol: h2" in output
    assert "alert" not in output


@needs_openssl
def test_a_session_is_never_resumed(one_sided: int, tmp_path: Path) -> None:
    place = str(tmp_path / "session")
    first = s_client(one_sided, "-servername", NONCE_TEXT, "-alpn", "h2", "-sess_out", place)

    arguments = ["-sess_in", place] if Path(place).exists() else []
    second = s_client(one_sided, "-servername", NONCE_TEXT, "-alpn", "h2", *arguments)

    assert "New, TLSv1.3" in first
    assert "New, TLSv1.3" in second
    assert "Reused" not in second


def owner_files(folder: Path, key: Any) -> tuple[str, str]:
    certificate = make_certificate(key, None, b"", NOW)
    cert_path, key_path = folder / "owner.crt", folder / "owner.pem"
    cert_path.write_bytes(certificate.public_bytes(Encoding.PEM))
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return str(cert_path), str(key_path)


def stdlib_context(*protocols: str, server: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


class StdlibEnd:
    """One end of a connection on the interpreter's ssl module, over memory."""

    def __init__(self, context: ssl.SSLContext, *, server: bool, name: str | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server, server_hostname=name
        )
        self.done = False

    def advance(self, received: bytes) -> bytes:
        if received:
            self.incoming.write(received)
        try:
            self.tls.do_handshake()
            self.done = True
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()


@pytest.mark.parametrize("by_alpn", [False, True], ids=["server name", "alpn"])
def test_the_ssl_module_shakes_hands_with_our_server(by_alpn: bool) -> None:
    protocols = [f"atls:v1:nonce:{NONCE.hex()}", "h2"] if by_alpn else ["h2"]
    name = None if by_alpn else NONCE_TEXT
    client = StdlibEnd(stdlib_context(*protocols), server=False, name=name)
    server = server_session(require_client=None)

    server.advance(client.advance(b""))
    assert server.advance(client.advance(server.pending()))

    assert client.done
    assert client.tls.selected_alpn_protocol() == "h2"
    content = client.tls.getpeercert(binary_form=True)
    assert content is not None
    assert bound_to(x509.load_der_x509_certificate(content), NONCE)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)], ids=["p-384", "rsa"])  # fmt: skip
def test_the_ssl_module_presents_an_owner_key(tmp_path: Path, key: Any) -> None:
    context = stdlib_context("h2")
    context.load_cert_chain(*owner_files(tmp_path, key))
    client = StdlibEnd(context, server=False, name=NONCE_TEXT)
    server = server_session(require_client=None)

    server.advance(client.advance(b""))
    assert server.advance(client.advance(server.pending()))

    assert server.identity is not None
    assert server.identity.public_key_spki == spki_der(key)


def stdlib_server(folder: Path, *protocols: str, issue: Any = None) -> StdlibEnd:
    """Return a server that makes evidence for the nonce in the server name, in another stack."""
    key = new_key()

    def on_name(tls: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        nonce = base64.b64decode(name or "", validate=True)
        certificate = make_certificate(key, issue or FakeIssuer(), nonce, NOW)
        (folder / "s.crt").write_bytes(certificate.public_bytes(Encoding.PEM))
        (folder / "s.pem").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        fresh = stdlib_context(*protocols, server=True)
        fresh.load_cert_chain(folder / "s.crt", folder / "s.pem")
        tls.context = fresh

    context = stdlib_context(*protocols, server=True)
    context.sni_callback = on_name  # type: ignore[assignment]  # a callback on memory gets an SSLObject
    return StdlibEnd(context, server=True)


def test_our_client_shakes_hands_with_the_ssl_module(tmp_path: Path) -> None:
    client = client_session(issuer=None)
    server = stdlib_server(tmp_path, "h2")

    client.advance()
    assert client.advance(server.advance(client.pending()))
    server.advance(client.pending())

    assert server.done
    assert client.evidence is not None


def test_our_client_does_not_prove_itself_to_a_server_that_sends_no_nonce(tmp_path: Path) -> None:
    own = FakeIssuer()
    client = client_session(issuer=own)
    server = stdlib_server(tmp_path, "h2")

    client.advance()
    with pytest.raises(HandshakeFailed, match="named 0 acceptable cas"):
        client.advance(server.advance(client.pending()))

    assert own.issued == []


def test_our_client_refuses_a_server_that_does_not_speak_h2(tmp_path: Path) -> None:
    client = client_session(issuer=None)
    server = stdlib_server(tmp_path)

    client.advance()
    with pytest.raises(HandshakeFailed, match="does not speak the protocol h2"):
        client.advance(server.advance(client.pending()))


def test_our_client_refuses_wrong_evidence_of_the_ssl_module(tmp_path: Path) -> None:
    client = client_session(issuer=None)
    server = stdlib_server(tmp_path, "h2", issue=FakeIssuer(host_data=bytes(32)))

    client.advance()
    with pytest.raises(EvidenceRejected, match="host data"):
        client.advance(server.advance(client.pending()))


def test_our_client_refuses_tls_1_2(tmp_path: Path) -> None:
    server = stdlib_server(tmp_path, "h2")
    server.tls.context.maximum_version = ssl.TLSVersion.TLSv1_2
    context = stdlib_context("h2", server=True)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    old = StdlibEnd(context, server=True)
    client = client_session(issuer=None)
    client.advance()

    with contextlib.suppress(ssl.SSLError):
        old.advance(client.pending())

    with pytest.raises(HandshakeFailed, match="protocol version"):
        client.advance(old.outgoing.read())


def test_base64_in_the_server_name_survives_with_all_its_characters() -> None:
    for _ in range(20):
        nonce = os.urandom(32)
        name = base64.b64encode(nonce).decode()
        client = StdlibEnd(stdlib_context("h2"), server=False, name=name)
        server = server_session(require_client=None)

        server.advance(client.advance(b""))
        client.advance(server.pending())

        content = client.tls.getpeercert(binary_form=True)
        assert content is not None
        assert bound_to(x509.load_der_x509_certificate(content), nonce)
