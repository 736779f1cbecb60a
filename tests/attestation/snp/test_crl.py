from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.errors import CollateralUnavailable, Revoked
from contrast_tasks.attestation.issuers.simulated_chain import amd_name
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.snp.crl import MAX_CRL_BYTES, verify_not_revoked
from tests.fakes.attestation import NOW, FakeAmd, rsa_key
from tests.fakes.intel import COMPLETE, INCOMPLETE

AMD = FakeAmd()
ARK = parse_certificate(AMD.chain.ark_der)
ASK = parse_certificate(AMD.chain.ask_der)


def verify(*lists: bytes) -> None:
    verify_not_revoked(ASK, ARK, lists, NOW)


def test_a_current_list_that_does_not_name_the_certificate_is_enough() -> None:
    verify(AMD.crl())
    verify(AMD.crl(ASK.serial + 1))


def test_a_list_that_names_the_certificate_is_final() -> None:
    with pytest.raises(Revoked, match="SEV-Milan with serial number 0x10001 is revoked"):
        verify(AMD.crl(ASK.serial))


def test_an_expired_list_that_names_the_certificate_counts_beside_a_current_one() -> None:
    with pytest.raises(Revoked):
        verify(AMD.crl(), AMD.crl(ASK.serial, age_days=100))


def test_one_usable_list_among_useless_ones_is_enough() -> None:
    verify(b"", b"junk", AMD.crl(age_days=100), AMD.crl())


def test_no_list_at_all_is_refused() -> None:
    with pytest.raises(CollateralUnavailable, match="the peer sent none and none is cached"):
        verify()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(AMD.crl(age_days=100), "but it is 2026-06-01", id="expired"),
        pytest.param(AMD.crl(age_days=-5), "but it is 2026-06-01", id="from the future"),
        pytest.param(AMD.crl(key=rsa_key("stranger")), "not signed by ARK-Milan", id="another key"),
        pytest.param(FakeAmd(line="Genoa").crl(), "another issuer's", id="another line"),
        pytest.param(b"<html>", "not a der revocation list", id="html"),
        pytest.param(AMD.crl()[:-1], "not a der revocation list", id="truncated"),
        pytest.param(bytes(MAX_CRL_BYTES + 1), "wanted at most", id="oversized"),
    ],
)
def test_a_list_that_nobody_vouches_for_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(CollateralUnavailable, match=message):
        verify(content)


def test_a_list_signed_with_another_kind_of_key_is_refused() -> None:
    content = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(amd_name("ARK-Milan"))
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .sign(ec.generate_private_key(ec.SECP384R1()), SHA384())
        .public_bytes(Encoding.DER)
    )

    with pytest.raises(CollateralUnavailable, match=r"not signed by ARK-Milan|not a der"):
        verify(content)


def with_extension(value: x509.ExtensionType, *, critical: bool) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(amd_name("ARK-Milan"))
        .last_update(NOW)
        .next_update(NOW + timedelta(days=1))
        .add_extension(value, critical=critical)
    )
    scheme = padding.PSS(mgf=padding.MGF1(SHA384()), salt_length=48)
    signed = builder.sign(AMD.ark_key, SHA384(), rsa_padding=scheme)
    return signed.public_bytes(Encoding.DER)


@pytest.mark.parametrize("extension", INCOMPLETE.values(), ids=INCOMPLETE)
def test_a_list_that_may_leave_certificates_out_is_refused(
    extension: tuple[x509.ExtensionType, bool],
) -> None:
    with pytest.raises(CollateralUnavailable, match="it is a partial revocation list"):
        verify(with_extension(extension[0], critical=extension[1]))


@pytest.mark.parametrize("extension", COMPLETE.values(), ids=COMPLETE)
def test_a_list_of_every_certificate_is_enough(extension: tuple[x509.ExtensionType, bool]) -> None:
    verify(with_extension(extension[0], critical=extension[1]))
