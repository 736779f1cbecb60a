"""Rows 8 to 10 and 78 of the list of evidence that a verifier must reject: nonces that do not arrive, or get mixed up."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from contrast_tasks.atls import session as sessions
from contrast_tasks.atls.certificate import new_key
from contrast_tasks.atls.errors import HandshakeFailed
from contrast_tasks.atls.nonce import alpn_entry, server_name
from tests.fakes.atls import NOW, client_session, server_session, shake
from tests.fakes.attestation import AmdIssuer, FakeAmd

NONCE = bytes(range(32))
VALIDATORS = [FakeAmd().validator()]


def trusting_client(**changes: Any) -> sessions.ClientSession:
    return client_session(**{"validators": VALIDATORS, "issuer": None, **changes})


def trusting_server(**changes: Any) -> sessions.ServerSession:
    return server_session(**{"require_client": lambda: (VALIDATORS, "state"), **changes})


def name(text: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME, **kind: Any) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text, **kind)])


GOOD_NAME = name(server_name(NONCE).decode())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        pytest.param([], "named 0 acceptable cas, expected 1", id="empty list"),
        pytest.param([GOOD_NAME, GOOD_NAME], "named 2 acceptable cas, expected 1", id="two names"),
        pytest.param(
            [name("x", NameOID.ORGANIZATION_NAME)], "no common name of type string", id="no CN"
        ),
        pytest.param([name("not base64!")], "is not base64", id="CN not base64"),
        pytest.param(
            [name(base64.b64encode(NONCE[:31]).decode())], "31 bytes, expected 32", id="short nonce"
        ),
        pytest.param(
            [name("A" * 22, _type=_ASN1Type.BMPString)], "is not base64|16 bytes", id="CN in UTF-16"
        ),
    ],
)
def test_08_a_ca_list_that_carries_no_nonce_is_refused_before_we_prove_ourselves(
    names: list[x509.Name], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OddContext(SSL.Context):
        def add_client_ca(self, _certificate: Any) -> None:
            for subject in names:
                super().add_client_ca(self_named(subject))

    own = AmdIssuer()
    client = trusting_client(issuer=own)
    monkeypatch.setattr(SSL, "Context", OddContext)
    server = server_session(issuer=AmdIssuer())

    outcome = shake(client, server)

    assert isinstance(outcome.client_error, HandshakeFailed)
    assert any(part in str(outcome.client_error) for part in message.split("|"))
    assert own.issued == []
    assert not outcome.server_done


def test_08_a_ca_name_that_is_not_a_string_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class OddContext(SSL.Context):
        def add_client_ca(self, _certificate: Any) -> None:
            content = self_named(GOOD_NAME).public_bytes(Encoding.DER)
            # The 44 characters of the name as a bit string of 43 bytes.
            odd = content.replace(b"\x0c\x2c" + server_name(NONCE)[:1], b"\x03\x2c\x00")
            super().add_client_ca(x509.load_der_x509_certificate(odd))

    own = AmdIssuer()
    client = trusting_client(issuer=own)
    monkeypatch.setattr(SSL, "Context", OddContext)

    outcome = shake(client, server_session(issuer=AmdIssuer()))

    assert isinstance(outcome.client_error, HandshakeFailed)
    assert str(outcome.client_error) == "the server's acceptable ca cannot be read"
    assert own.issued == []


def self_named(subject: x509.Name) -> x509.Certificate:
    key = new_key()
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(1)
    return builder.not_valid_before(NOW).not_valid_after(NOW).sign(key, hashes.SHA256())


def hello(**offer: Any) -> bytes:
    """Return the ClientHello of a bare TLS client."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    if "alpn" in offer:
        context.set_alpn_protos(offer["alpn"])
    connection = SSL.Connection(context, None)
    if "name" in offer:
        connection.set_tlsext_host_name(offer["name"])
    connection.set_connect_state()
    with pytest.raises(SSL.WantReadError):
        connection.do_handshake()
    return connection.bio_read(65536)


GOOD_NONCE = {"name": server_name(NONCE)}


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        pytest.param(
            {"alpn": [b"atls:v2:nonce:" + b"00" * 32, b"h2"]}, "another version", id="version 2"
        ),
        pytest.param({"alpn": [b"atls", b"h2"]}, "another version", id="no version"),
        pytest.param(
            {"alpn": [b"atls:v2:nonce:" + b"00" * 32, b"h2", alpn_entry(NONCE)]},
            "another version",
            id="version 2 before version 1",
        ),
        pytest.param({"alpn": [alpn_entry(NONCE)[:-1], b"h2"]}, "is not hex", id="odd hex"),
        pytest.param({"alpn": [alpn_entry(NONCE)[:-1] + b"g", b"h2"]}, "is not hex", id="no hex"),
        pytest.param({"alpn": [alpn_entry(NONCE)[:-2], b"h2"]}, "31 bytes", id="short"),
        pytest.param({"alpn": [alpn_entry(NONCE)]}, "does not offer the protocol h2", id="no h2"),
        pytest.param({"alpn": [b"http/1.1"]}, "does not offer the protocol h2", id="http/1.1"),
    ],
)
def test_09_a_bad_nonce_in_alpn_is_refused_even_beside_a_good_server_name(
    offer: dict[str, Any], message: str
) -> None:
    own = AmdIssuer()
    server = trusting_server(issuer=own)

    with pytest.raises(HandshakeFailed, match=message):
        server.advance(hello(**offer, **GOOD_NONCE))

    assert own.issued == []


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        pytest.param({}, "no nonce, neither by alpn nor as server name", id="nothing"),
        pytest.param({"name": b"coordinator"}, "server name is not base64", id="not base64"),
        pytest.param({"name": server_name(NONCE)[:-1]}, "server name is not base64", id="unpadded"),
        pytest.param({"name": server_name(NONCE[1:])}, "31 bytes, expected 32", id="short"),
        pytest.param({"name": server_name(NONCE + b"x")}, "33 bytes, expected 32", id="long"),
    ],
)
def test_10_a_server_name_that_is_no_nonce_is_refused(offer: dict[str, Any], message: str) -> None:
    own = AmdIssuer()
    server = trusting_server(issuer=own)

    with pytest.raises(HandshakeFailed, match=message):
        server.advance(hello(alpn=[b"h2"], **offer))

    assert own.issued == []


@pytest.mark.parametrize("first", [0, 1])
def test_78_interleaved_handshakes_demand_each_its_own_report_data(first: int) -> None:
    issuers = [AmdIssuer(), AmdIssuer()]
    clients = [trusting_client() for _ in issuers]
    servers = [server_session(require_client=None, issuer=issuer) for issuer in issuers]
    for client, server in zip(clients, servers, strict=True):
        client.advance()
        server.advance(client.pending())
    answers = [server.pending() for server in servers]

    order = [first, 1 - first]
    assert [clients[number].advance(answers[number]) for number in order] == [True, True]
    asked = {issuer.issued[0] for issuer in issuers}
    assert len(asked) == 2
