"""Rows 1 to 7 and 11 to 15 of the list of evidence that a verifier must reject: whole handshakes with evidence of a synthetic AMD.

Rows that other tests cover over a handshake already (tests/attestation/ROWS.md has all of them):

7   test_session.py::test_a_mutual_server_refuses_a_client_without_certificate
8, 9, 10, 78  test_atls_nonce_negative.py
11  test_session.py::test_tls_1_2_is_refused, test_foreign_peers.py::test_our_client_refuses_tls_1_2
"""

import hashlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from OpenSSL import crypto

from contrast_tasks.atls import session as sessions
from contrast_tasks.atls.certificate import make_certificate, new_key, report_data, spki_der
from contrast_tasks.atls.errors import (
    BadPeerCertificate,
    EvidenceMissing,
    HandshakeFailed,
    OwnEvidenceRefused,
)
from contrast_tasks.atls.types import PrivateKey
from contrast_tasks.attestation.errors import ClaimsRejected, MalformedEvidence
from contrast_tasks.attestation.proto import sevsnp_pb2 as pb
from contrast_tasks.evidence_documents import OID_INSECURE, OID_INSECURE_REPORT, OID_SNP, OID_TDX
from tests.fakes.atls import (
    NOW,
    Forge,
    ForgingClient,
    ForgingServer,
    Outcome,
    client_session,
    server_session,
    shake,
)
from tests.fakes.attestation import AmdIssuer, FakeAmd

NONCE = bytes(range(32))
DOCUMENT = FakeAmd().document()
VALIDATORS = [FakeAmd().validator()]
SIDES = pytest.mark.parametrize("side", ["server", "client"])


def trusting_client(**changes: Any) -> sessions.ClientSession:
    return client_session(**{"validators": VALIDATORS, "issuer": None, **changes})


def trusting_server(**changes: Any) -> sessions.ServerSession:
    return server_session(**{"require_client": lambda: (VALIDATORS, "state"), **changes})


def meet(side: str, forge: Forge) -> tuple[Exception | None, Outcome]:
    """Let our side meet a peer that presents a forged certificate: our error, and all that became of it."""
    if side == "server":
        outcome = shake(trusting_client(), ForgingServer(forge))
        return outcome.client_error, outcome
    outcome = shake(ForgingClient(forge), trusting_server())
    return outcome.server_error, outcome


def from_issuer(issuer: AmdIssuer | None) -> Forge:
    return lambda key, nonce: make_certificate(key, issuer, nonce, NOW)


def with_lie(lie: Callable[[bytes, bytes], bytes]) -> Forge:
    return from_issuer(AmdIssuer(lie=lie))


def built(
    key: PrivateKey,
    *extensions: tuple[str, bytes, bool],
    signer: PrivateKey | None = None,
    issuer: str = "Contrast",
    start: timedelta = timedelta(hours=-1),
) -> x509.Certificate:
    """Return a certificate with extensions of (OID, content, critical), signed as asked for."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Contrast")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + start + timedelta(hours=2))
    )
    for oid, content, critical in extensions:
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), content)
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer or key, hashes.SHA256())


def genuine(key: PrivateKey, nonce: bytes) -> bytes:
    """Return good evidence for a key and a nonce."""
    return AmdIssuer().issue(report_data(spki_der(key), nonce))


@SIDES
def test_an_honest_peer_is_accepted(side: str) -> None:
    error, outcome = meet(side, from_issuer(AmdIssuer()))

    assert error is None
    assert outcome.succeeded


@SIDES
def test_01_a_certificate_without_evidence_is_refused(side: str) -> None:
    error, outcome = meet(side, from_issuer(None))

    assert isinstance(error, EvidenceMissing)
    assert str(error) == "the peer's certificate carries no evidence"
    assert not outcome.succeeded


@SIDES
@pytest.mark.parametrize(
    "oid", [OID_TDX, OID_INSECURE, OID_INSECURE_REPORT], ids=["tdx", "insecure", "insecure report"]
)
def test_02_evidence_of_a_kind_without_reference_value_is_refused(side: str, oid: str) -> None:
    error, _ = meet(side, from_issuer(AmdIssuer(oid=oid)))

    assert isinstance(error, EvidenceMissing)
    assert f"is of type {oid}, but the reference values are for {OID_SNP}" in str(error)


@SIDES
def test_03_evidence_of_another_connection_is_refused(side: str) -> None:
    key = new_key()
    replayed = genuine(key, NONCE)

    error, _ = meet(side, lambda own, _nonce: built(own, (OID_SNP, replayed, False)))

    assert isinstance(error, ClaimsRejected)
    assert error.reason == "report-data"
    assert f"report-data is {report_data(spki_der(key), NONCE).hex()}" in str(error)


@SIDES
def test_04_evidence_for_another_key_is_refused(side: str) -> None:
    guest = new_key()

    error, _ = meet(side, lambda key, nonce: built(key, (OID_SNP, genuine(guest, nonce), False)))

    assert isinstance(error, ClaimsRejected)
    assert error.reason == "report-data"
    assert "a replay, or a relay in between" in error.hint


def _bit_flipped(key: PrivateKey, nonce: bytes) -> x509.Certificate:
    content = bytearray(make_certificate(key, AmdIssuer(), nonce, NOW).public_bytes(Encoding.DER))
    content[-1] ^= 1
    return x509.load_der_x509_certificate(bytes(content))


@SIDES
@pytest.mark.parametrize(
    ("forge", "message"),
    [
        pytest.param(
            lambda key, nonce: built(key, (OID_SNP, genuine(key, nonce), False), signer=new_key()),
            "not signed by its own key",
            id="another key",
        ),
        pytest.param(_bit_flipped, "not signed by its own key", id="bit flipped"),
        pytest.param(
            lambda key, nonce: built(key, (OID_SNP, genuine(key, nonce), False), issuer="Somebody"),
            "malformed",
            id="another issuer",
        ),
    ],
)
def test_05_a_certificate_that_its_key_did_not_sign_is_refused(
    side: str, forge: Forge, message: str
) -> None:
    error, outcome = meet(side, forge)

    assert isinstance(error, BadPeerCertificate)
    assert message in str(error)
    assert not outcome.succeeded


@SIDES
@pytest.mark.parametrize(
    ("start", "valid"),
    [
        pytest.param(-3, "from 2026-06-01T09:00:00Z to 2026-06-01T11:00:00Z", id="expired"),
        pytest.param(1, "from 2026-06-01T13:00:00Z to 2026-06-01T15:00:00Z", id="not yet valid"),
    ],
)
def test_06_a_certificate_outside_its_validity_is_refused(
    side: str, start: int, valid: str
) -> None:
    error, _ = meet(
        side,
        lambda key, nonce: built(
            key, (OID_SNP, genuine(key, nonce), False), start=timedelta(hours=start)
        ),
    )

    assert isinstance(error, BadPeerCertificate)
    assert f"valid {valid}, but it is 2026-06-01T12:00:00Z" in str(error)


def raw_point(key: PrivateKey) -> bytes:
    public = key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    return public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


@SIDES
@pytest.mark.parametrize(
    "digest",
    [
        pytest.param(
            lambda key, nonce: hashlib.sha256(spki_der(key) + nonce).digest().ljust(64, b"\0"),
            id="sha-256",
        ),
        pytest.param(
            lambda key, nonce: hashlib.sha384(spki_der(key) + nonce).digest().ljust(64, b"\0"),
            id="sha-384",
        ),
        pytest.param(
            lambda key, nonce: hashlib.sha512(raw_point(key) + nonce).digest(), id="raw key"
        ),
        pytest.param(
            lambda key, nonce: hashlib.sha512(nonce + spki_der(key)).digest(), id="nonce first"
        ),
        pytest.param(
            lambda key, nonce: hashlib.sha512(spki_der(key) + nonce.hex().encode()).digest(),
            id="nonce in hex",
        ),
        pytest.param(lambda key, _nonce: hashlib.sha512(spki_der(key)).digest(), id="no nonce"),
        pytest.param(lambda _key, nonce: hashlib.sha512(nonce).digest(), id="no key"),
    ],
)
def test_12_evidence_over_another_digest_is_refused(
    side: str, digest: Callable[[PrivateKey, bytes], bytes]
) -> None:
    error, _ = meet(
        side,
        lambda key, nonce: built(key, (OID_SNP, AmdIssuer().issue(digest(key, nonce)), False)),
    )

    assert isinstance(error, ClaimsRejected)
    assert [check.reason for check in error.failed] == ["report-data"]


@SIDES
@pytest.mark.parametrize("other", [OID_TDX, OID_INSECURE, OID_INSECURE_REPORT])
@pytest.mark.parametrize("good_first", [True, False], ids=["good first", "bad first"])
def test_13_a_second_document_is_refused_beside_a_good_one(
    side: str, other: str, good_first: bool
) -> None:
    def forge(key: PrivateKey, nonce: bytes) -> x509.Certificate:
        both = [(OID_SNP, genuine(key, nonce), False), (other, b"bad", False)]
        return built(key, *(both if good_first else reversed(both)))

    error, _ = meet(side, forge)

    assert isinstance(error, BadPeerCertificate)
    assert "more than one evidence document" in str(error)


@SIDES
def test_13_the_same_extension_twice_is_refused(side: str) -> None:
    def forge(key: PrivateKey, nonce: bytes) -> x509.Certificate:
        # The library does not write an extension twice: the unsigned name of the second one is changed afterwards.
        single = built(key, (OID_SNP, genuine(key, nonce), False), ("1.3.9901.2.9", b"bad", False))
        content = single.public_bytes(Encoding.DER)
        return x509.load_der_x509_certificate(
            content.replace(bytes.fromhex("06052bcd2d0209"), bytes.fromhex("06052bcd2d0201"))
        )

    error, _ = meet(side, forge)

    assert isinstance(error, BadPeerCertificate)


@SIDES
def test_14_an_unknown_critical_extension_is_refused(side: str) -> None:
    error, _ = meet(
        side,
        lambda key, nonce: built(
            key, (OID_SNP, genuine(key, nonce), False), ("1.2.3.4", b"x", True)
        ),
    )

    assert isinstance(error, BadPeerCertificate)
    assert str(error) == "the peer's certificate has the unknown critical extension 1.2.3.4"


def wrong_wire_type(document: bytes, _report_data: bytes) -> bytes:
    message = pb.Attestation()
    message.ParseFromString(document)
    message.report.ClearField("measurement")
    inner = message.report.SerializeToString() + b"\x60\x01"  # field 12 as a number
    assert 0x80 <= len(inner) < 0x4000
    return b"\x0a" + bytes((len(inner) & 0x7F | 0x80, len(inner) >> 7)) + inner


def without_report(document: bytes, _report_data: bytes) -> bytes:
    message = pb.Attestation()
    message.ParseFromString(document)
    message.ClearField("report")
    return message.SerializeToString()


@SIDES
@pytest.mark.parametrize(
    ("lie", "message"),
    [
        pytest.param(lambda document, _: document[:-1], "not a protobuf", id="truncated"),
        pytest.param(lambda document, _: document[:600], "not a protobuf", id="cut in the report"),
        pytest.param(lambda _document, _: b"", "has no report", id="empty"),
        pytest.param(lambda _document, _: b"{}", "not a protobuf", id="json"),
        pytest.param(wrong_wire_type, "measurement has 0 bytes, wanted 48", id="wrong wire type"),
        pytest.param(without_report, "the document has no report", id="missing report"),
    ],
)
def test_15_a_document_in_another_form_is_refused(
    side: str, lie: Callable[[bytes, bytes], bytes], message: str
) -> None:
    error, _ = meet(side, with_lie(lie))

    assert isinstance(error, MalformedEvidence)
    assert message in str(error)


@SIDES
def test_15_a_document_above_64_kib_is_refused_unread(side: str) -> None:
    error, _ = meet(side, with_lie(lambda document, _: document.ljust(65_537, b"\0")))

    assert isinstance(error, BadPeerCertificate)
    assert str(error) == "the evidence document has 65537 bytes, expected at most 65536"


@SIDES
def test_15_a_document_of_a_mebibyte_never_reaches_the_verifier(side: str) -> None:
    error, outcome = meet(side, with_lie(lambda document, _: document.ljust(1 << 20, b"\0")))

    assert isinstance(error, HandshakeFailed)
    assert not outcome.succeeded


@pytest.mark.parametrize(
    ("plain", "odd"),
    [
        pytest.param("2a8648ce3d030107", "2a8648ce3d03017f", id="unknown curve"),
        pytest.param("a003020102", "a003020107", id="version 8"),
        pytest.param("2a8648ce3d0201", "2a8648ce3d0271", id="unknown kind of key"),
        pytest.param("2a8648ce3d040302", "2a8648ce3d04037f", id="unknown signature"),
    ],
)
def test_79_a_certificate_that_cannot_be_read_is_a_typed_error(plain: str, odd: str) -> None:
    content = make_certificate(new_key(), AmdIssuer(), NONCE, NOW).public_bytes(Encoding.DER)
    content = content.replace(bytes.fromhex(plain), bytes.fromhex(odd))
    presented = crypto.load_certificate(crypto.FILETYPE_ASN1, content)

    with pytest.raises(BadPeerCertificate, match="the peer's certificate is malformed"):
        sessions._evidence(sessions._leaf(presented), VALIDATORS, NONCE, lambda: NOW)


def test_79_a_refused_client_is_told_by_an_alert_only() -> None:
    _, outcome = meet("client", with_lie(lambda document, _: document[:-1]))

    assert isinstance(outcome.client_error, OwnEvidenceRefused)
    assert "protobuf" not in str(outcome.client_error)
    assert b"protobuf" not in outcome.server_bytes
