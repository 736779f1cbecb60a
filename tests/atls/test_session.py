import gc
import weakref
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from OpenSSL import SSL

from contrast_tasks.atls import session as sessions
from contrast_tasks.atls.certificate import new_key, report_data, spki_der
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    EvidenceMissing,
    HandshakeFailed,
    OwnEvidenceRefused,
)
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_TDX
from tests.fakes.atls import (
    HOST_DATA,
    NOW,
    BrokenIssuer,
    FakeIssuer,
    FakeValidator,
    ReplayingIssuer,
    client_session,
    server_session,
    shake,
)


@pytest.mark.parametrize("by_alpn", [False, True], ids=["server name", "alpn"])
def test_a_mutual_handshake_proves_both_sides(by_alpn: bool) -> None:
    key = new_key()
    client, server = client_session(client_key=key, by_alpn=by_alpn), server_session()

    outcome = shake(client, server)

    assert outcome.succeeded
    assert server.identity is not None
    assert server.identity.evidence is not None
    assert server.identity.evidence.host_data == HOST_DATA
    assert server.identity.public_key_spki == spki_der(key)
    assert server.identity.snapshot == "state"
    assert client.evidence is not None
    assert client.evidence.host_data == HOST_DATA
    assert server.connection.get_protocol_version_name() == "TLSv1.3"
    assert server.connection.get_alpn_proto_negotiated() == b"h2"


@pytest.mark.parametrize(
    "key",
    [
        None,
        new_key(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["no certificate", "p-256", "p-384", "rsa"],
)
def test_a_one_sided_server_takes_any_client_certificate_or_none(key: Any) -> None:
    client = client_session(issuer=None, client_key=key)
    server = server_session(require_client=None)

    outcome = shake(client, server)

    assert outcome.succeeded
    assert server.identity is not None
    assert server.identity.public_key_spki == (None if key is None else spki_der(key))
    assert server.identity.evidence is None


def test_a_client_without_validators_checks_the_self_signature_only() -> None:
    client = client_session(validators=None)

    assert shake(client, server_session(issuer=None)).succeeded
    assert client.evidence is None


@pytest.mark.parametrize(
    ("issuer", "error"),
    [
        pytest.param(None, EvidenceMissing, id="none"),
        pytest.param(FakeIssuer(oid=OID_TDX), EvidenceMissing, id="of another type"),
        pytest.param(FakeIssuer(host_data=bytes(32)), EvidenceRejected, id="of another guest"),
        pytest.param(ReplayingIssuer(document=b"junk"), EvidenceRejected, id="junk"),
        pytest.param(FakeIssuer(padding=70_000), BadPeerCertificate, id="oversized"),
    ],
)
def test_a_client_refuses_a_server_by_its_evidence_and_shows_none_of_its_own(
    issuer: Any, error: type[Exception]
) -> None:
    own = FakeIssuer()
    client, server = client_session(issuer=own), server_session(issuer=issuer)

    outcome = shake(client, server)

    assert isinstance(outcome.client_error, error)
    assert not outcome.server_done
    assert own.issued == []


@pytest.mark.parametrize(
    ("issuer", "error"),
    [
        pytest.param(FakeIssuer(oid=OID_TDX), EvidenceMissing, id="of another type"),
        pytest.param(FakeIssuer(host_data=bytes(32)), EvidenceRejected, id="of another guest"),
        pytest.param(ReplayingIssuer(document=b"junk"), EvidenceRejected, id="junk"),
        pytest.param(FakeIssuer(padding=70_000), BadPeerCertificate, id="oversized"),
    ],
)
def test_a_server_refuses_a_client_by_its_evidence(issuer: Any, error: type[Exception]) -> None:
    client, server = client_session(issuer=issuer), server_session()

    outcome = shake(client, server)

    assert isinstance(outcome.server_error, error)
    assert server.identity is None
    assert isinstance(outcome.client_error, OwnEvidenceRefused)


def test_a_mutual_server_refuses_a_client_without_certificate() -> None:
    outcome = shake(client_session(issuer=None), server_session())

    assert isinstance(outcome.server_error, HandshakeFailed)
    assert "did not return a certificate" in str(outcome.server_error)
    assert isinstance(outcome.client_error, OwnEvidenceRefused)
    assert "certificate required" in str(outcome.client_error)


def test_a_mutual_server_refuses_a_certificate_without_evidence() -> None:
    outcome = shake(client_session(issuer=None, client_key=new_key()), server_session())

    assert isinstance(outcome.server_error, EvidenceMissing)


def test_evidence_of_an_earlier_connection_is_refused_by_the_server() -> None:
    key, first = new_key(), FakeIssuer()
    assert shake(client_session(client_key=key, issuer=first), server_session()).succeeded
    replayed = FakeIssuer().issue(first.issued[0])

    client = client_session(client_key=key, issuer=ReplayingIssuer(document=replayed))
    outcome = shake(client, server_session())

    assert "another connection's" in str(outcome.server_error)


def test_evidence_of_an_earlier_connection_is_refused_by_the_client() -> None:
    first = FakeIssuer()
    assert shake(client_session(), server_session(issuer=first)).succeeded
    replayed = FakeIssuer().issue(first.issued[0])

    outcome = shake(client_session(), server_session(issuer=ReplayingIssuer(document=replayed)))

    assert "another connection's" in str(outcome.client_error)


def test_evidence_relayed_from_a_genuine_guest_is_refused_under_another_key() -> None:
    # The attacker passes the client's nonce on to a genuine guest, which binds it to the guest's own key.
    client = client_session()
    guest_key = new_key()
    genuine = FakeIssuer().issue(report_data(spki_der(guest_key), client.nonce))

    outcome = shake(client, server_session(issuer=ReplayingIssuer(document=genuine)))

    assert "another connection's" in str(outcome.client_error)


def test_every_connection_has_nonces_of_its_own() -> None:
    client, server = client_session(), server_session()

    assert len({client.nonce, server.nonce, client_session().nonce, server_session().nonce}) == 4


def test_two_interleaved_handshakes_do_not_mix_their_nonces() -> None:
    pairs = [(client_session(), server_session()) for _ in range(2)]
    to_server = []
    for client, _ in pairs:
        client.advance()
        to_server.append(client.pending())
    answers = []
    for (_, server), hello in zip(pairs, to_server, strict=True):
        server.advance(hello)
        answers.append(server.pending())

    assert all(client.advance(answer) for (client, _), answer in zip(pairs, answers, strict=True))
    assert all(server.advance(client.pending()) for client, server in pairs)


def test_an_answer_for_another_connection_is_refused() -> None:
    (client, _), (other, other_server) = [(client_session(), server_session()) for _ in range(2)]
    client.advance()
    other.advance()
    other_server.advance(other.pending())

    with pytest.raises(HandshakeFailed):
        client.advance(other_server.pending())


def test_the_validators_and_state_are_those_of_the_start_of_the_handshake() -> None:
    current = {"validators": [FakeValidator()], "state": "first"}
    server = server_session(require_client=lambda: (current["validators"], current["state"]))
    current.update(validators=[], state="second")

    assert shake(client_session(), server).succeeded
    assert server.identity is not None
    assert server.identity.snapshot == "first"


def test_a_server_that_is_not_ready_refuses_without_reason() -> None:
    def not_ready() -> Any:
        raise RuntimeError("no manifest set yet: secret detail")

    outcome = shake(client_session(), server_session(require_client=not_ready))

    assert "secret detail" in str(outcome.server_error)
    assert isinstance(outcome.client_error, HandshakeFailed)
    assert not isinstance(outcome.client_error, EvidenceRejected)
    assert b"secret" not in outcome.server_bytes


def test_an_issuer_that_fails_refuses_without_reason() -> None:
    outcome = shake(client_session(), server_session(issuer=BrokenIssuer()))

    assert isinstance(outcome.server_error, OSError)
    assert isinstance(outcome.client_error, HandshakeFailed)
    assert outcome.server_bytes == bytes.fromhex(
        "15030300020228"
    )  # alert: fatal, handshake_failure


def test_a_client_whose_issuer_fails_tells_its_caller() -> None:
    outcome = shake(client_session(issuer=BrokenIssuer()), server_session())

    assert isinstance(outcome.client_error, OSError)
    assert not outcome.server_done


def test_a_refused_client_learns_an_alert_and_nothing_else() -> None:
    client, server = client_session(issuer=FakeIssuer(host_data=bytes(32))), server_session()

    outcome = shake(client, server)

    assert "host data is 0000" in str(outcome.server_error)
    assert "host data" not in str(outcome.client_error)
    assert "unknown ca" in str(outcome.client_error)


def test_a_peer_whose_clock_is_three_hours_ahead_is_refused() -> None:
    ahead = client_session(clock=lambda: NOW + timedelta(hours=3))

    outcome = shake(ahead, server_session())

    assert isinstance(outcome.client_error, BadPeerCertificate)
    assert "2026-06-01T15:00:00Z" in str(outcome.client_error)


def raw_client(configure: Any = None, **hello: Any) -> SSL.Connection:
    """Return a bare TLS client that sends what it is told instead of a proper nonce."""
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_verify(SSL.VERIFY_NONE, lambda *_: True)
    if hello.get("alpn"):
        context.set_alpn_protos(hello["alpn"])
    if configure is not None:
        configure(context)
    connection = SSL.Connection(context, None)
    if hello.get("name"):
        connection.set_tlsext_host_name(hello["name"])
    connection.set_connect_state()
    return connection


@pytest.mark.parametrize(
    ("hello", "alert"),
    [
        pytest.param({"alpn": [b"h2"]}, 40, id="no nonce at all"),
        pytest.param({"alpn": [b"h2"], "name": b"coordinator"}, 40, id="name that is no nonce"),
        pytest.param({"alpn": [b"h2"], "name": b"AAAA"}, 40, id="nonce of 3 bytes"),
        pytest.param({"alpn": [b"atls:v2:nonce:00", b"h2"]}, 40, id="another version"),
        pytest.param({"alpn": [b"http/1.1"], "name": b"x"}, 120, id="no h2"),
        pytest.param({"alpn": [b"atls:v1:nonce:" + b"00" * 32]}, 120, id="nonce without h2"),
        pytest.param({"name": b"A" * 43 + b"="}, 40, id="no alpn"),
    ],
)
def test_a_client_hello_that_is_not_attested_tls_is_answered_by_an_alert(
    hello: dict[str, Any], alert: int
) -> None:
    client, server = raw_client(**hello), server_session()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()

    with pytest.raises(HandshakeFailed):
        server.advance(client.bio_read(65536))

    assert server.pending() == bytes([0x15, 3, 3, 0, 2, 2, alert])


def test_tls_1_2_is_refused() -> None:
    client = raw_client(lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION))
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server = server_session()

    with pytest.raises(HandshakeFailed, match="unsupported protocol"):
        server.advance(client.bio_read(65536))

    assert server.pending()[-1] == 70  # protocol_version


def test_bytes_that_are_not_tls_are_refused() -> None:
    with pytest.raises(HandshakeFailed):
        server_session().advance(b"GET / HTTP/1.1\r\n\r\n" * 10)


def test_a_client_refuses_a_server_without_certificate_request_if_it_has_to_prove_itself() -> None:
    class Bare(sessions.ServerSession):
        def __init__(self) -> None:
            super().__init__(
                key=new_key(), issuer=FakeIssuer(), require_client=None, clock=lambda: NOW
            )
            self.connection.set_verify(SSL.VERIFY_NONE, lambda *_: True)

    outcome = shake(client_session(), Bare())

    assert isinstance(outcome.client_error, HandshakeFailed)
    assert "named 0 acceptable cas" in str(outcome.client_error)


def test_a_certificate_chain_is_refused_even_if_its_leaf_is_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = sessions.make_certificate(new_key(), None, b"", NOW)
    plain = sessions._new_context

    def with_extra(method: int) -> SSL.Context:
        context = plain(method)
        context.add_extra_chain_cert(extra)
        return context

    client = client_session()
    monkeypatch.setattr(sessions, "_new_context", with_extra)
    server = server_session()

    outcome = shake(client, server)

    assert isinstance(outcome.client_error, BadPeerCertificate)
    assert "more than one certificate" in str(outcome.client_error)


def test_a_clients_certificate_chain_is_refused_even_if_its_leaf_is_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extra = sessions.make_certificate(new_key(), None, b"", NOW)
    plain = sessions._new_context

    def with_extra(method: int) -> SSL.Context:
        context = plain(method)
        context.add_extra_chain_cert(extra)
        return context

    server = server_session()
    monkeypatch.setattr(sessions, "_new_context", with_extra)
    client = client_session()

    outcome = shake(client, server)

    assert isinstance(outcome.server_error, BadPeerCertificate)
    assert server.identity is None


def test_the_key_of_the_identity_is_the_one_that_tls_proved() -> None:
    key = new_key()
    server = server_session()
    shake(client_session(client_key=key), server)

    assert server.identity is not None
    assert server.identity.certificate_der is not None
    leaf = x509.load_der_x509_certificate(server.identity.certificate_der)
    spki = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert server.identity.public_key_spki == spki == spki_der(key)


def test_a_session_is_freed_without_the_garbage_collector() -> None:
    client, server = client_session(), server_session()
    assert shake(client, server).succeeded
    gone = [weakref.ref(client), weakref.ref(server), weakref.ref(server.connection.get_context())]
    gc.disable()
    try:
        del client, server

        assert [reference() for reference in gone] == [None, None, None]
    finally:
        gc.enable()
