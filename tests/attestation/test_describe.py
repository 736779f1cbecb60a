"""Descriptions of evidence, against the field values listed for real vectors."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.carriers import open_carrier
from contrast_tasks.attestation.describe import describe
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.flags import Flag, named_bits
from contrast_tasks.attestation.pki.forms import der_to_pem
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from tests.fakes.attestation import FakeAmd
from tests.fakes.intel import AUTH, NOW, Body, Intel, changed, name, quoting_enclave, raw_public
from tests.fakes.testdata import ATTESTATION

real_data = pytest.mark.skipif(
    not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand"
)


def snp_vectors() -> list[dict[str, Any]]:
    if not ATTESTATION.is_dir():
        return []
    every = json.loads((ATTESTATION / "vectors.json").read_text())["vectors"]
    return [vector for vector in every if vector["tee"] == "snp" and "fields" in vector]


@real_data
@pytest.mark.parametrize("vector", snp_vectors(), ids=lambda vector: vector["id"])
def test_a_report_is_described_with_its_listed_values(vector: dict[str, Any]) -> None:
    report = next(file for file in vector["files"] if file.endswith("report.bin"))
    fields = vector["fields"]

    said = describe((ATTESTATION / report).read_bytes())

    assert said["kind"] == "SEV-SNP report"
    assert said["version"] == fields["version"]
    assert said["vmpl"] == fields["vmpl"]
    assert said["policy"]["word"] == fields["policy"]
    assert said["policy"]["DEBUG"] is bool(int(fields["policy"], 16) >> 19 & 1)
    assert said["platform_info"]["word"] == fields["platform_info"]
    for field in (
        "measurement",
        "host_data",
        "report_data",
        "chip_id",
        "id_key_digest",
        "report_id",
    ):
        assert said[field] == fields[field]
    for field in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"):
        assert int(said[field]["word"], 16) == int(fields[field], 16)


@real_data
def test_a_container_shows_the_report_inside() -> None:
    inside = describe((ATTESTATION / "snp" / "azure-hcl-report.bin").read_bytes())
    cut = describe((ATTESTATION / "snp" / "milan-v3-azure.report.bin").read_bytes())

    assert inside["report"]["measurement"] == cut["measurement"]


@real_data
def test_every_vector_is_recognised() -> None:
    kinds = {
        path.name: describe(path.read_bytes())["kind"]
        for folder in ("snp", "tdx")
        for path in sorted((ATTESTATION / folder).iterdir())
        if path.suffix in {".bin", ".der", ".pb"}
    }

    assert kinds["vcek-turin.der"] == "AMD endorsement certificate"
    assert kinds["milan-v2-a.attestation.pb"] == "SEV-SNP document"
    assert kinds["v4-uptodate.quotev4.pb"] == "TDX document"
    assert kinds["v5-uptodate.quote.bin"] == "TDX quote"


def test_every_bit_is_named_and_an_unknown_one_keeps_its_number() -> None:
    assert named_bits(0b101, {0: Flag("A"), 1: Flag("B")}) == {"A": True, "B": False, "bit 2": True}


def test_a_certificate_in_pem_says_the_same_as_in_der() -> None:
    vcek = FakeAmd().chain.vcek_der

    assert describe(der_to_pem(vcek)) == describe(vcek)
    assert describe(vcek)["kind"] == "AMD endorsement certificate"


def test_a_chain_in_pem_tells_every_certificate_in_order() -> None:
    chain = FakeAmd().chain

    said = describe(b"".join(map(der_to_pem, (chain.vcek_der, chain.ask_der, chain.ark_der))))

    assert said["kind"] == "certificates"
    kinds = [one["kind"] for one in said["certificates"]]
    assert kinds == ["AMD endorsement certificate", "certificate", "certificate"]
    assert said["certificates"][2]["subject"].startswith("CN=ARK-Milan")


def test_pem_of_something_else_is_refused() -> None:
    vcek = FakeAmd().chain.vcek_der

    with pytest.raises(MalformedEvidence, match="certificate 2 of 2 is not DER"):
        describe(der_to_pem(vcek) + der_to_pem(vcek[:-1]))


def test_a_certificate_with_serial_0_is_shown_without_the_library() -> None:
    # The tests turn the library's warning into an error, as the library itself will.
    odd = FakeAmd().vcek(common_name="SEV-OTHER")

    for content in (odd, der_to_pem(odd)):
        said = describe(content)
        assert (said["kind"], said["subject"]) == ("certificate", "SEV-OTHER")
        assert "1.3.6.1.4.1.3704.1.4" in said["extensions"]


@pytest.mark.parametrize("form", [bytes, der_to_pem])
def test_a_certificate_of_amd_is_no_evidence(form: Callable[[bytes], bytes]) -> None:
    with pytest.raises(MalformedEvidence, match="one of AMD's and carries no evidence"):
        open_carrier(form(FakeAmd().chain.vcek_der))


def test_a_quote_names_its_header_and_its_quoting_enclave() -> None:
    intel = Intel()
    quote = intel.quote(report=quoting_enclave(intel, attributes=b"\x16" + bytes(15)))

    said = describe(quote)

    assert (said["attestation_key_type"], said["tee_type"]) == (2, "0x81")
    assert (said["qe_svn"], said["pce_svn"], said["user_data"]) == ("0000", "0000", "00" * 20)
    assert said["attestation_key"] == raw_public(intel.attestation_key).hex()
    enclave = said["quoting_enclave"]
    assert enclave["authentication_data"] == AUTH.hex()
    assert enclave["mr_enclave"] == "11" * 32
    bits = {name for name, value in enclave["attributes"].items() if value is True}
    assert bits == {"DEBUG", "MODE64BIT", "PROVISIONKEY"}


def test_a_quote_names_its_attributes_and_its_platform() -> None:
    intel = Intel()

    said = describe(intel.quote(changed(Body(), td_attributes=bytes.fromhex("0100001000000000"))))

    assert said["kind"] == "TDX quote"
    assert said["td_attributes"]["DEBUG"] is True
    assert said["td_attributes"]["SEPT_VE_DISABLE"] is True
    assert said["host_data"] == "c0" * 32
    assert said["pck_certificate"]["fmspc"] == "b0c06f000000"
    assert json.dumps(said)


def test_a_certificate_of_attested_tls_shows_the_document_inside() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    document = render_document(parse_quote(Intel().quote()))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("Contrast"))
        .issuer_name(name("Contrast"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=1))
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.9901.2.2"), document),
            critical=False,
        )
        .sign(key, SHA256())
    )

    for encoding in (Encoding.DER, Encoding.PEM):
        said = describe(certificate.public_bytes(encoding))
        assert said["kind"] == "certificate"
        assert said["tdx_document"]["mr_td"] == Body().mr_td.hex()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"text", id="text"),
        pytest.param(bytes(0x4A0), id="zeros as long as a report"),
        pytest.param(b"\x04\x00\x02\x00\x81\x00\x00\x00", id="head of a quote"),
        pytest.param(b"\x30\x00", id="empty sequence"),
        pytest.param(b"\x0a\x00", id="empty document"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\n", id="head of a certificate"),
        pytest.param(b"HCLA", id="head of a container"),
    ],
)
def test_what_is_no_evidence_is_refused_with_what_each_reading_met(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        describe(content)
