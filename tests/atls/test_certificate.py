import hashlib
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from contrast_tasks.atls.certificate import (
    make_certificate,
    new_key,
    report_data,
    spki_der,
    verify_peer_certificate,
)
from contrast_tasks.atls.errors import BadPeerCertificate, EvidenceMissing, NoReferenceAccepted
from contrast_tasks.atls.types import Evidence, PrivateKey
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import (
    MAX_DOCUMENT_BYTES,
    OID_INSECURE,
    OID_INSECURE_REPORT,
    OID_SNP,
    OID_TDX,
)
from tests.fakes.atls import HOST_DATA, NOW, FakeIssuer, FakeValidator, ReplayingIssuer

NONCE = bytes(range(32))
KEY = new_key()


def verify(certificate: x509.Certificate, **changes: Any) -> Evidence | None:
    arguments: dict[str, Any] = {"validators": [FakeValidator()], "nonce": NONCE, "now": NOW}
    return verify_peer_certificate(certificate, **{**arguments, **changes})


def odd_certificate(
    *extensions: tuple[x509.ExtensionType, bool],
    key: PrivateKey = KEY,
    signer: PrivateKey | None = None,
    issuer: str = "Contrast",
    start: timedelta = timedelta(0),
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Contrast")]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW + start)
        .not_valid_after(NOW + start + timedelta(hours=1))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer or key, hashes.SHA256())


def evidence(oid: str = OID_SNP, key: PrivateKey = KEY) -> x509.UnrecognizedExtension:
    document = FakeIssuer().issue(report_data(spki_der(key), NONCE))
    return x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), document)


def test_report_data_is_sha_512_over_key_and_nonce() -> None:
    spki = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    assert report_data(spki, NONCE) == hashlib.sha512(spki + NONCE).digest()


def test_a_certificate_has_the_form_of_the_specification() -> None:
    certificate = make_certificate(KEY, FakeIssuer(), NONCE, NOW)

    assert certificate.subject == certificate.issuer
    assert certificate.subject.rfc4514_string() == "CN=Contrast"
    assert certificate.not_valid_before_utc == NOW - timedelta(hours=2)
    assert certificate.not_valid_after_utc == NOW + timedelta(hours=2)
    assert certificate.serial_number > 0
    (extension,) = certificate.extensions
    assert extension.oid.dotted_string == OID_SNP
    assert not extension.critical
    # The content is the raw document, without inner DER.
    assert extension.value.public_bytes() == FakeIssuer().issue(report_data(spki_der(KEY), NONCE))


def test_without_an_issuer_there_is_no_extension() -> None:
    certificate = make_certificate(KEY, None, b"", NOW)

    assert list(certificate.extensions) == []


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_no_evidence_is_issued_over_a_nonce_of_another_length(size: int) -> None:
    with pytest.raises(ValueError, match="a nonce has 32 bytes"):
        make_certificate(KEY, FakeIssuer(), bytes(size), NOW)


@pytest.mark.parametrize(
    "key",
    [
        new_key(),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["p-256", "p-384", "rsa"],
)
def test_evidence_is_found_and_verified_for_every_kind_of_key(key: PrivateKey) -> None:
    found = verify(make_certificate(key, FakeIssuer(), NONCE, NOW))

    assert found is not None
    assert found.host_data == HOST_DATA


def test_the_validator_is_told_the_time() -> None:
    validator = FakeValidator()

    verify(make_certificate(KEY, FakeIssuer(), NONCE, NOW), validators=[validator])

    assert validator.seen == [NOW]


def test_without_validators_only_the_signature_is_checked() -> None:
    assert verify(make_certificate(KEY, None, b"", NOW), validators=None) is None


def test_evidence_over_another_nonce_is_rejected() -> None:
    certificate = make_certificate(KEY, FakeIssuer(), bytes(32), NOW)

    with pytest.raises(EvidenceRejected, match="another connection's"):
        verify(certificate)


def test_evidence_over_another_key_is_rejected() -> None:
    document = FakeIssuer().issue(report_data(spki_der(new_key()), NONCE))
    certificate = make_certificate(KEY, ReplayingIssuer(document=document), NONCE, NOW)

    with pytest.raises(EvidenceRejected, match="another connection's"):
        verify(certificate)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda spki: hashlib.sha256(spki + NONCE).digest() * 2, id="sha-256"),
        pytest.param(lambda spki: hashlib.sha512(NONCE + spki).digest(), id="nonce first"),
        pytest.param(lambda spki: hashlib.sha512(spki[-65:] + NONCE).digest(), id="raw key"),
        pytest.param(lambda spki: hashlib.sha512(spki).digest(), id="no nonce"),
    ],
)
def test_evidence_over_a_differently_made_digest_is_rejected(wrong: Any) -> None:
    document = FakeIssuer().issue(wrong(spki_der(KEY)))
    certificate = make_certificate(KEY, ReplayingIssuer(document=document), NONCE, NOW)

    with pytest.raises(EvidenceRejected):
        verify(certificate)


@pytest.mark.parametrize("hours", [-3, 3])
def test_a_certificate_outside_its_validity_is_rejected(hours: int) -> None:
    certificate = make_certificate(KEY, FakeIssuer(), NONCE, NOW + timedelta(hours=hours))

    with pytest.raises(BadPeerCertificate, match="is valid from") as caught:
        verify(certificate)

    assert "clocks" in caught.value.hint


def test_a_certificate_signed_by_another_key_is_rejected() -> None:
    certificate = odd_certificate((evidence(), False), signer=new_key())

    with pytest.raises(BadPeerCertificate, match="not signed by its own key"):
        verify(certificate)


def test_a_certificate_that_names_another_issuer_is_rejected() -> None:
    certificate = odd_certificate((evidence(), False), issuer="Somebody")

    with pytest.raises(BadPeerCertificate, match="malformed"):
        verify(certificate)


def test_a_flipped_signature_bit_is_rejected() -> None:
    content = bytearray(make_certificate(KEY, FakeIssuer(), NONCE, NOW).public_bytes(Encoding.DER))
    content[-1] ^= 1

    with pytest.raises(BadPeerCertificate):
        verify(x509.load_der_x509_certificate(bytes(content)))


def test_a_certificate_without_evidence_is_rejected() -> None:
    with pytest.raises(EvidenceMissing, match="carries no evidence"):
        verify(make_certificate(KEY, None, b"", NOW))


@pytest.mark.parametrize("oid", [OID_TDX, OID_INSECURE, OID_INSECURE_REPORT])
def test_evidence_that_no_reference_value_speaks_of_is_rejected(oid: str) -> None:
    certificate = make_certificate(KEY, FakeIssuer(oid=oid), NONCE, NOW)

    with pytest.raises(EvidenceMissing, match=f"type {oid}, but .* are for {OID_SNP}"):
        verify(certificate)


def test_with_an_empty_list_of_validators_nothing_is_accepted() -> None:
    with pytest.raises(EvidenceMissing, match="are for no type at all"):
        verify(make_certificate(KEY, FakeIssuer(), NONCE, NOW), validators=[])


def test_two_kinds_of_evidence_in_one_certificate_are_rejected() -> None:
    certificate = odd_certificate((evidence(), False), (evidence(OID_TDX), False))

    with pytest.raises(BadPeerCertificate, match="more than one"):
        verify(certificate)


def test_an_extension_that_comes_twice_is_rejected() -> None:
    plain = odd_certificate((evidence(), False), (evidence("1.3.9901.2.9"), False))
    last = bytes.fromhex("06052bcd2d0209")
    twice = plain.public_bytes(Encoding.DER).replace(last, bytes.fromhex("06052bcd2d0201"))
    assert twice != plain.public_bytes(Encoding.DER)

    with pytest.raises(BadPeerCertificate):
        verify(x509.load_der_x509_certificate(twice))


def test_a_document_above_64_kib_is_rejected_unread() -> None:
    validator = FakeValidator()
    certificate = make_certificate(KEY, FakeIssuer(padding=MAX_DOCUMENT_BYTES), NONCE, NOW)

    with pytest.raises(BadPeerCertificate, match="expected at most 65536"):
        verify(certificate, validators=[validator])

    assert validator.seen == []


def test_an_unknown_critical_extension_is_rejected() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x")

    with pytest.raises(BadPeerCertificate, match=r"unknown critical extension 1\.2\.3\.4"):
        verify(odd_certificate((evidence(), False), (unknown, True)))


def test_unknown_extensions_that_are_not_critical_are_ignored() -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x")

    assert verify(odd_certificate((evidence(), False), (unknown, False))) is not None


def test_the_first_validator_that_accepts_decides() -> None:
    strict = FakeValidator(name="fake-0", host_data=bytes(32))
    never = FakeValidator(name="fake-2")

    found = verify(
        make_certificate(KEY, FakeIssuer(), NONCE, NOW), validators=[strict, FakeValidator(), never]
    )

    assert found is not None
    assert never.seen == []


def test_when_several_validators_refuse_each_reason_is_told() -> None:
    strict = [FakeValidator(name=f"fake-{n}", host_data=bytes([n]) * 32) for n in range(2)]

    with pytest.raises(NoReferenceAccepted) as caught:
        verify(make_certificate(KEY, FakeIssuer(), NONCE, NOW), validators=strict)

    assert list(caught.value.rejections) == ["fake-0", "fake-1"]
    assert "fake-0: host data is e5" in str(caught.value)
    assert "fake-1: host data is e5" in str(caught.value)


def test_when_one_validator_refuses_its_own_error_is_told() -> None:
    refusing = FakeValidator(host_data=bytes(32))

    with pytest.raises(EvidenceRejected) as caught:
        verify(make_certificate(KEY, FakeIssuer(), NONCE, NOW), validators=[refusing])

    assert type(caught.value) is EvidenceRejected
