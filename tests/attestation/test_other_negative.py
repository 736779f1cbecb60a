"""Rows 74 to 79 of the list of evidence that a verifier must reject: other kinds, manifests, caches, clocks, threads, errors.

tests/attestation/ROWS.md has all rows and every test for each.
"""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.atls.certificate import make_certificate, new_key, verify_peer_certificate
from contrast_tasks.atls.errors import EvidenceMissing
from contrast_tasks.attestation.endorsements import kds
from contrast_tasks.attestation.endorsements.fetch import Access, EndorsementCache, Endorsements
from contrast_tasks.attestation.errors import (
    ClaimsRejected,
    EndorsementRejected,
    HardwareRejected,
    MalformedEvidence,
    SignatureRejected,
)
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import SettingsError
from contrast_tasks.evidence_documents import OID_INSECURE
from contrast_tasks.manifest.codec import parse_manifest
from contrast_tasks.manifest.validate import ManifestError
from contrast_tasks.platforms import platform
from contrast_tasks.web.answers import Answer
from tests.fakes.attestation import CHIP_ID, HOST_DATA, NOW, REPORT_DATA, TCB, FakeAmd
from tests.manifest.samples import ABSENT, MEASUREMENT, SIMULATED, SNP, changed, document
from tests.manifest.samples import TDX as TDX_ENTRY

AMD = FakeAmd()
FORGER = FakeAmd(owner="forger")
NONCE = bytes(range(32))
SNP0 = ("ReferenceValues", "snp", 0)


class InsecureIssuer:
    """Says whatever it is asked to say, without any signature."""

    oid = OID_INSECURE

    def issue(self, report_data: bytes) -> bytes:
        said = {"reportData": report_data, "hostData": HOST_DATA}
        return json.dumps(
            {key: base64.b64encode(one).decode() for key, one in said.items()}
        ).encode()


def encoded(manifest: dict[str, Any]) -> bytes:
    return json.dumps(manifest, indent=2).encode()


@pytest.mark.parametrize(
    "values",
    [
        {"snp": [SNP]},
        {"tdx": [TDX_ENTRY]},
        {"snp": [SNP], "tdx": [TDX_ENTRY]},
        {"simulated": [SIMULATED]},
    ],
    ids=["snp", "tdx", "both", "simulated"],
)
def test_74_an_insecure_document_is_refused_against_any_manifest(values: dict[str, Any]) -> None:
    validators = validators_for(parse_manifest(encoded(document(**values))))
    certificate = make_certificate(new_key(), InsecureIssuer(), NONCE, NOW)

    with pytest.raises(EvidenceMissing) as caught:
        verify_peer_certificate(certificate, validators, NONCE, NOW)

    assert "of type 1.3.9901.2.3, but the reference values are for 1.3.9901.2." in str(caught.value)
    assert OID_INSECURE not in {validator.oid for validator in validators}


def test_74_an_insecure_document_that_says_it_is_of_hardware_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="not a protobuf attestation"):
        AMD.validator().verify(InsecureIssuer().issue(REPORT_DATA), REPORT_DATA, NOW)


@pytest.mark.parametrize("hardware", [{"snp": [SNP]}, {"tdx": [TDX_ENTRY]}], ids=["snp", "tdx"])
def test_74_a_manifest_that_mixes_simulated_with_hardware_entries_is_refused(
    hardware: dict[str, Any],
) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(encoded(document(simulated=[SIMULATED], **hardware)))

    assert [finding.code for finding in caught.value.findings] == ["M060"]
    assert "mixes simulated entries with those of real hardware" in str(caught.value)


@pytest.mark.parametrize("name", ["insecure", "insecure-qemu-snp", "Insecure"])
def test_74_there_is_no_insecure_platform_to_opt_into(name: str) -> None:
    with pytest.raises(SettingsError, match=f"'{name}'"):
        platform(name)


@pytest.mark.parametrize(
    ("path", "value", "code", "text"),
    [
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), None, "M033", "MinimumTCB.SNPVersion", id="TCB null"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), ABSENT, "M033", "MinimumTCB.SNPVersion", id="TCB absent"),
        pytest.param((*SNP0, "MinimumTCB"), None, "M033", "MinimumTCB.BootloaderVersion", id="no TCB at all"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), -1, "M034", "-1", id="TCB negative"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), 256, "M034", "256", id="TCB 256"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), 1.5, "M034", "1.5", id="TCB 1.5"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), "8", "M034", "'8'", id="TCB string"),
        pytest.param((*SNP0, "MinimumTCB", "SNPVersion"), True, "M034", "true", id="TCB true"),
        pytest.param((*SNP0, "ProductName"), "Rome", "M031", "'Rome'", id="other product"),
        pytest.param((*SNP0, "ProductName"), "", "M031", "''", id="empty product"),
        pytest.param((*SNP0, "TrustedMeasurement"), MEASUREMENT[:-1], "M032", "TrustedMeasurement", id="hex of odd length"),
        pytest.param((*SNP0, "TrustedMeasurement"), " " + MEASUREMENT[1:], "M032", "TrustedMeasurement", id="leading space"),
        pytest.param((*SNP0, "TrustedMeasurement"), "6c " * 32, "M032", "TrustedMeasurement", id="hex with spaces"),
        pytest.param((*SNP0, "TrustedMeasurement"), MEASUREMENT + "\n", "M032", "TrustedMeasurement", id="hex with a newline"),
        pytest.param((*SNP0, "TrustedMeasurement"), "\u0666c" * 48, "M032", "TrustedMeasurement", id="digits of another script"),
    ],
)  # fmt: skip
def test_75_a_malformed_reference_value_is_an_error_of_the_manifest(
    path: tuple[str | int, ...], value: Any, code: str, text: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(encoded(changed(document(), path, value)), file="manifest.json")

    first = caught.value.findings[0]
    assert first.code == code
    assert text in str(caught.value)
    assert first.where.file == "manifest.json"
    assert first.where.line is not None
    assert caught.value.exit_code == (13 if code == "M033" else 12)


def test_75_upper_case_hex_is_accepted_and_means_the_same() -> None:
    upper = changed(document(), (*SNP0, "TrustedMeasurement"), MEASUREMENT.upper())

    (judge,) = validators_for(parse_manifest(encoded(upper)))
    (same,) = validators_for(parse_manifest(encoded(document())))

    assert judge == same


@pytest.fixture
def offline(tmp_path: Path) -> Endorsements:
    access = Access(get=None, sleep=lambda _: None, monotonic=lambda: 0.0)
    return Endorsements(EndorsementCache(tmp_path / "cache"), access)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(AMD.chain.vcek_der, id="forged certificate"),
        pytest.param(AMD.chain.crl_der, id="another kind of file"),
        pytest.param(b"<html>", id="web page"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_76_a_poisoned_certificate_or_list_in_the_cache_is_dropped_and_never_used(
    offline: Endorsements, tmp_path: Path, body: bytes
) -> None:
    # The cache holds them under the right addresses, but below no root of AMD's.
    cache = EndorsementCache(tmp_path / "cache")
    for url in (kds.vcek_url("Milan", CHIP_ID, TCB), kds.crl_url("Milan")):
        cache.put(url, Answer(status=200, body=body))

    assert kds.cached_vcek(offline, "Milan", CHIP_ID, TCB, now=NOW) is None
    assert kds.cached_crl(offline, "Milan", now=NOW) is None
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("year", "reason", "text"),
    [
        pytest.param(1970, "certificate-not-yet-valid", "but it is 1970-01-01T", id="1970"),
        pytest.param(2019, "certificate-not-yet-valid", "but it is 2019-01-01T", id="before 2020"),
        pytest.param(2034, "certificate-expired", "SEV-VCEK expired 2033", id="after the key"),
        pytest.param(2060, "certificate-expired", "but it is 2060-01-01T", id="after the root"),
    ],
)
def test_77_a_clock_far_off_is_refused(year: int, reason: str, text: str) -> None:
    with pytest.raises(EndorsementRejected) as caught:
        AMD.validator().verify(AMD.document(), REPORT_DATA, datetime(year, 1, 1, tzinfo=UTC))

    assert caught.value.reason == reason
    assert text in str(caught.value)
    assert "clock" in caught.value.hint


def test_78_verifications_side_by_side_do_not_exchange_their_expectations() -> None:
    validator = AMD.validator()
    wanted = [bytes([number]) * 64 for number in range(8)]
    documents = [AMD.document(AMD.report(report_data=data)) for data in wanted]

    def wanted_by_refusal(pair: tuple[int, int]) -> str:
        sent, expected = pair
        try:
            validator.verify(documents[sent], wanted[expected], NOW)
        except ClaimsRejected as err:
            return err.failed[0].wanted
        return "accepted"

    pairs = [(sent, expected) for sent in range(8) for expected in range(8)]
    with ThreadPoolExecutor(8) as threads:
        verdicts = list(threads.map(wanted_by_refusal, pairs))

    assert verdicts == [
        "accepted" if sent == expected else wanted[expected].hex() for sent, expected in pairs
    ]


@pytest.mark.parametrize(
    ("document", "error"),
    [
        pytest.param(b"", MalformedEvidence, id="nothing"),
        pytest.param(b"\xff" * 2000, MalformedEvidence, id="noise"),
        pytest.param(AMD.document()[:-1], MalformedEvidence, id="truncated"),
        pytest.param(AMD.document(vcek_der=b""), EndorsementRejected, id="no certificate"),
        pytest.param(AMD.document(vcek_der=b"junk"), MalformedEvidence, id="junk certificate"),
        pytest.param(AMD.document(ark_der=b""), EndorsementRejected, id="no root"),
        pytest.param(AMD.document(ask_der=b"junk"), MalformedEvidence, id="junk intermediate"),
        pytest.param(AMD.document(FORGER.report()), SignatureRejected, id="signed by another chip"),
        pytest.param(AMD.document(AMD.report(vmpl=1)), ClaimsRejected, id="claims"),
    ],
)
def test_79_every_refusal_is_typed_worded_and_ends_with_41(
    document: bytes, error: type[HardwareRejected]
) -> None:
    with pytest.raises(HardwareRejected) as caught:
        AMD.validator().verify(document, REPORT_DATA, NOW)

    refusal = caught.value
    assert type(refusal) is error
    assert refusal.exit_code == 41
    assert refusal.reason
    assert str(refusal)[0].islower()
    assert not str(refusal).endswith(".")
    assert "Traceback" not in str(refusal)
