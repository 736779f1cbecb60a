"""Chains that Intel would not issue: a certificate does only what it is made for."""

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from contrast_tasks.attestation.errors import (
    CollateralRejected,
    EndorsementRejected,
    MalformedEvidence,
)
from contrast_tasks.attestation.tdx.collateral import parse_collateral, verify_collateral
from contrast_tasks.attestation.tdx.pck import PckChain, verified_signer, verify_pck_chain
from contrast_tasks.attestation.tdx.sgx_extension import parse_sgx_extension
from contrast_tasks.errors import EvidenceRejected
from tests.fakes.intel import (
    NOW,
    SGX,
    Intel,
    PckValues,
    certificate,
    crl,
    name,
    oid,
    pem,
    tlv,
)

INTEL = Intel()
ROOT, CA = "Intel SGX Root CA", INTEL.ca_name
UNKNOWN: dict[str, Any] = {"extra_extensions": ("1.2.3.4",), "critical": True}


def verify(*chain: x509.Certificate) -> PckChain:
    return verify_pck_chain(pem(*chain), root_spki=INTEL.root_spki, now=NOW)


def make_ca(**changes: Any) -> x509.Certificate:
    return certificate(CA, INTEL.ca_key, ROOT, INTEL.root_key, **{"authority": True, **changes})


def make_root(**changes: Any) -> x509.Certificate:
    return certificate(ROOT, INTEL.root_key, ROOT, INTEL.root_key, authority=True, **changes)


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        pytest.param((INTEL.pck, make_ca(**UNKNOWN), INTEL.root), "intermediate has the unknown critical extension 1.2.3.4", id="intermediate"),
        pytest.param((INTEL.pck, INTEL.ca, make_root(**UNKNOWN)), "root has the unknown critical extension", id="root"),
        pytest.param((INTEL.pck, make_ca(signs=False), INTEL.root), "may not sign certificates", id="intermediate that may not sign"),
        pytest.param((INTEL.pck, make_ca(authority=False), INTEL.root), "is not a certificate authority", id="intermediate that is no authority"),
        pytest.param((INTEL.make_pck(signs=False), INTEL.ca, INTEL.root), "may not sign data", id="leaf that may not sign"),
        pytest.param((INTEL.make_pck(authority=True), INTEL.ca, INTEL.root), "PCK certificate is a certificate authority", id="leaf that is an authority"),
        pytest.param((INTEL.pck, INTEL.ca, make_root(path_length=0)), "no intermediate below it", id="root without depth"),
        pytest.param((INTEL.pck, INTEL.ca, make_root(until=NOW - timedelta(days=1))), "Intel root expired", id="root expired"),
    ],
)  # fmt: skip
def test_a_chain_that_intel_would_not_issue_is_refused(
    chain: tuple[x509.Certificate, ...], message: str
) -> None:
    with pytest.raises(EndorsementRejected, match=message):
        verify(*chain)


def test_a_leaf_with_an_unknown_critical_extension_among_its_six_is_refused() -> None:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name("Intel SGX PCK Certificate"))
        .issuer_name(name(CA))
        .public_key(INTEL.pck_key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW)
    )
    for text, content, critical in (
        (SGX, PckValues().extension(), False),
        ("1.2.3.4", b"\x05\x00", True),
        *((f"1.2.3.{arc}", b"\x05\x00", False) for arc in range(5, 9)),
    ):
        value = x509.UnrecognizedExtension(x509.ObjectIdentifier(text), content)
        builder = builder.add_extension(value, critical=critical)
    leaf = builder.sign(INTEL.ca_key, SHA256())

    with pytest.raises(EndorsementRejected, match="PCK certificate has the unknown critical"):
        verify(leaf, INTEL.ca, INTEL.root)


@pytest.mark.parametrize("path_length", [None, 1, 5])
def test_a_root_with_room_below_it_is_accepted(path_length: int | None) -> None:
    assert verify(INTEL.pck, INTEL.ca, make_root(path_length=path_length))


def test_a_signer_of_collateral_that_may_not_sign_is_refused() -> None:
    signer = certificate(
        "Intel SGX TCB Signing", INTEL.signer_key, ROOT, INTEL.root_key, authority=False, signs=False,
    )  # fmt: skip

    with pytest.raises(EndorsementRejected, match="collateral signer has a key that may not sign"):
        verified_signer(pem(signer, INTEL.root), INTEL.root_spki)


def test_an_authority_that_may_not_sign_lists_is_refused_as_issuer_of_one() -> None:
    chain = verify(INTEL.pck, INTEL.ca, INTEL.root)
    issuer = pem(make_ca(signs_lists=False), INTEL.root).decode()
    bundle = parse_collateral(INTEL.collateral(pck_crl_issuer_chain=issuer))

    with pytest.raises(CollateralRejected, match="Platform CA' may not sign revocation lists"):
        verify_collateral(bundle, chain=chain, root_spki=INTEL.root_spki, now=NOW)


EXPIRED = make_root(until=NOW - timedelta(days=1))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"tcb_info_issuer_chain": pem(INTEL.signer, EXPIRED).decode()}, "Intel root expired"),
        ({"qe_identity_issuer_chain": pem(INTEL.signer, EXPIRED).decode()}, "Intel root expired"),
        ({"pck_crl_issuer_chain": pem(INTEL.ca, EXPIRED).decode()}, "Intel root expired"),
        (
            {"root_ca_crl": crl(ROOT, INTEL.root_key, [INTEL.root.serial_number]).hex()},
            "Intel root with serial .* is revoked",
        ),
    ],
)
def test_every_root_of_a_bundle_has_to_be_valid(members: dict[str, str], message: str) -> None:
    chain = verify(INTEL.pck, INTEL.ca, INTEL.root)
    bundle = parse_collateral(INTEL.collateral(**members))

    with pytest.raises(EvidenceRejected, match=message):
        verify_collateral(bundle, chain=chain, root_spki=INTEL.root_spki, now=NOW)


def pair(arc: str, value: bytes) -> bytes:
    return tlv(0x30, oid(f"{SGX}.{arc}") + value)


GOOD = PckValues().extension()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(GOOD + b"\0", id="trailing byte"),
        pytest.param(tlv(0x31, GOOD[4:]), id="set"),
        pytest.param(GOOD.replace(oid(f"{SGX}.3"), oid(f"{SGX}.4")), id="member twice"),
        pytest.param(GOOD.replace(oid(f"{SGX}.2.9"), oid(f"{SGX}.2.8")), id="component twice"),
        pytest.param(GOOD.replace(oid(f"{SGX}.2.9"), oid(f"{SGX}.3.9")), id="component elsewhere"),
        pytest.param(GOOD.replace(b"\x0a\x01\x02", b"\x0a\x01\x03"), id="type 3"),
        pytest.param(GOOD.replace(b"\x0a\x01\x02", b"\x02\x01\x02"), id="type as integer"),
        pytest.param(GOOD.replace(b"\x01\x01\xff", b"\x01\x01\x01"), id="flag neither 00 nor ff"),
        pytest.param(tlv(0x30, pair("1", tlv(4, bytes(16)))), id="one member"),
        pytest.param(b"", id="nothing"),
        pytest.param(PckValues(fmspc=bytes(5)).extension(), id="short fmspc"),
        pytest.param(PckValues(pce_id=bytes(3)).extension(), id="long pce id"),
        pytest.param(PckValues(piid=bytes(15)).extension(), id="short platform id"),
        pytest.param(PckValues(pce_svn=65536).extension(), id="pce svn above 16 bits"),
    ],
)  # fmt: skip
def test_an_sgx_extension_in_another_form_is_refused(content: bytes) -> None:
    parse_sgx_extension(GOOD)

    with pytest.raises(MalformedEvidence):
        parse_sgx_extension(content)
