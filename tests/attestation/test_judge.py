"""Verdicts over evidence in files: synthetic vendors whose evidence is good, and then one lie at a time."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from contrast_tasks.attestation.carriers import open_carrier
from contrast_tasks.attestation.endorsements import kds
from contrast_tasks.attestation.endorsements.fetch import Access, EndorsementCache, Endorsements
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.judge import NoReferenceAccepts, UnknownPolicy, judge_document
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.snp.document import EXTRA_CRL, SnpDocument
from contrast_tasks.attestation.tdx.collateral import parse_collateral
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.errors import EvidenceRejected, MissingReferenceValues
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.manifest.reference_values import simulated_reference
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    ReferenceValues,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from contrast_tasks.web.answers import Answer
from tests.fakes.attestation import CHIP_ID, HOST_DATA, MEASUREMENT, NOW, REPORT_DATA, TCB, FakeAmd
from tests.fakes.intel import Body, Intel, changed, name
from tests.fakes.testdata import ATTESTATION

AMD = FakeAmd()
MILAN = SnpReference(
    product_name="Milan",
    trusted_measurement_hex=MEASUREMENT.hex(),
    minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8, microcode=115),
    guest_policy=GuestPolicy(),
)
TDX = TdxReference(
    mr_td_hex="7d" * 48,
    rtmrs_hex=("01" * 48, "02" * 48, "03" * 48, "00" * 48),
    mr_seam_hex="5e" * 48,
    xfam_hex="e702060000000000",
)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


@pytest.fixture
def cache(tmp_path: Path) -> EndorsementCache:
    return EndorsementCache(tmp_path / "cache")


@pytest.fixture
def offline(cache: EndorsementCache) -> Endorsements:
    return Endorsements(cache, Access(get=None, sleep=lambda _: None, monotonic=lambda: 0.0))


def manifest(*snp: SnpReference, tdx: tuple[TdxReference, ...] = (), **values: Any) -> Manifest:
    return Manifest(
        policies={
            HOST_DATA.hex(): PolicyEntry(sans=("web", "*")),
            "c0" * 32: PolicyEntry(sans=("coordinator",), role="coordinator"),
        },
        reference_values=ReferenceValues(snp=snp, tdx=tdx, **values),
    )


def amd_roots() -> TrustRoots:
    return TrustRoots(amd={"Milan": AMD.anchor, "Genoa": FakeAmd(line="Genoa").anchor})


def judge_snp(
    content: bytes, judging: Manifest, endorsements: Endorsements, **changes: Any
) -> dict[str, Any]:
    arguments: dict[str, Any] = {"report_data": REPORT_DATA, "now": NOW, "roots": amd_roots()}
    return judge_document(content, judging, endorsements=endorsements, **(arguments | changes))


def judge_tdx(
    content: bytes, judging: Manifest, endorsements: Endorsements, intel: Intel, **changes: Any
) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "report_data": Body().report_data,
        "now": NOW,
        "roots": TrustRoots(intel_spki=intel.root_spki),
        "collateral": parse_collateral(intel.collateral()),
    }
    return judge_document(content, judging, endorsements=endorsements, **(arguments | changes))


def test_a_document_is_accepted_by_the_reference_value_that_fits(offline: Endorsements) -> None:
    other = MILAN.replace(trusted_measurement_hex="00" * 47 + "01")

    said = judge_snp(AMD.document(), manifest(other, MILAN), offline)

    assert said["accepted_by"] == "snp-1-MILAN"
    assert (said["tee"], said["product"], said["simulated"]) == ("SEV-SNP", "Milan", False)
    assert said["policy_hash"] == HOST_DATA.hex()
    assert said["sans"] == ["web", "*"]
    assert said["report_data_checked"] is True
    assert said["at_hand"] == {
        "endorsement certificate": "the document",
        "revocation list": "the document",
    }
    assert [entry["reference"] for entry in said["refused_by"]] == ["snp-0-MILAN"]
    assert {"check": "vmpl", "found": "0", "wanted": "0"} in said["checks"]


def test_without_report_data_its_own_is_taken_and_said_to_be_unchecked(
    offline: Endorsements,
) -> None:
    said = judge_snp(AMD.document(), manifest(MILAN), offline, report_data=None)

    assert said["report_data"] == REPORT_DATA.hex()
    assert said["report_data_checked"] is False


def snp_certificate(content: bytes, oid: str = "1.3.9901.2.1") -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(name("Contrast")).issuer_name(name("Contrast"))
    return (
        builder.public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(hours=2))
        .add_extension(
            x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), content), critical=False
        )
        .sign(key, SHA256())
        .public_bytes(Encoding.DER)
    )


def pem_of(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


@pytest.mark.parametrize(
    ("carry", "carrier"),
    [
        pytest.param(AMD.document, "SEV-SNP document", id="document"),
        pytest.param(
            lambda: snp_certificate(AMD.document()), "certificate of attested TLS", id="DER"
        ),
        pytest.param(
            lambda: pem_of(snp_certificate(AMD.document())), "certificate of attested TLS", id="PEM"
        ),
    ],
)
def test_a_document_is_found_in_whatever_carries_it(
    offline: Endorsements, carry: Callable[[], bytes], carrier: str
) -> None:
    said = judge_snp(carry(), manifest(MILAN), offline)

    assert (said["evidence"], said["accepted_by"]) == (carrier, "snp-0-MILAN")


def with_vendor(patch: pytest.MonkeyPatch, cache: EndorsementCache) -> None:
    """Let the cache hold what the vendor publishes about the synthetic chip."""
    chain = AMD.chain
    anchor = replace(AMD.anchor, ark_der=chain.ark_der, ask_der=chain.ask_der)
    patch.setattr(kds, "amd_anchor", lambda line: anchor)
    cache.put(kds.vcek_url("Milan", CHIP_ID, TCB), Answer(status=200, body=chain.vcek_der))
    cache.put(kds.crl_url("Milan"), Answer(status=200, body=chain.crl_der))


def vendor_roots() -> TrustRoots:
    chain = AMD.chain
    return TrustRoots(
        amd={"Milan": replace(AMD.anchor, ark_der=chain.ark_der, ask_der=chain.ask_der)}
    )


@pytest.mark.parametrize(
    "carry",
    [
        pytest.param(lambda: AMD.report().raw, id="report"),
        pytest.param(lambda: b"HCLA".ljust(32, b"\0") + AMD.report().raw + b"{}", id="container"),
    ],
)
def test_a_bare_report_is_completed_from_what_the_vendor_publishes(
    offline: Endorsements,
    cache: EndorsementCache,
    monkeypatch: pytest.MonkeyPatch,
    carry: Callable[[], bytes],
) -> None:
    with_vendor(monkeypatch, cache)

    said = judge_snp(carry(), manifest(MILAN), offline, roots=vendor_roots())

    assert said["accepted_by"] == "snp-0-MILAN"
    assert set(said["at_hand"].values()) == {"the vendor's publication"}


def test_a_bare_report_of_version_2_finds_its_line_by_its_certificate(
    offline: Endorsements, cache: EndorsementCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_vendor(monkeypatch, cache)
    report = AMD.report(
        version=2,
        cpuid_family=0,
        cpuid_model=0,
        cpuid_stepping=0,
        launch_mit_vector=0,
        current_mit_vector=0,
    )

    said = judge_snp(report.raw, manifest(MILAN), offline, roots=vendor_roots())

    assert said["product"] == "Milan"


def test_what_cannot_be_had_is_named_with_the_way_to_get_it(offline: Endorsements) -> None:
    with pytest.raises(NoReferenceAccepts) as caught:
        judge_snp(AMD.report().raw, manifest(MILAN), offline)

    text = str(caught.value)
    assert "snp-0-MILAN: the document has no vcek certificate" in text
    assert f"not available: endorsement certificate: {kds.SERVICE}/vcek/v1/Milan/" in text
    assert "not available: revocation list" in text
    assert "endorsements fetch" in caught.value.hint


def test_nothing_is_fetched_for_a_chip_that_hides_its_id(offline: Endorsements) -> None:
    report = AMD.report(chip_id=bytes(64))

    with pytest.raises(NoReferenceAccepts, match="the chip id is masked"):
        judge_snp(report.raw, manifest(MILAN), offline)


def test_every_reference_value_says_its_first_failing_check(offline: Endorsements) -> None:
    old = MILAN.replace(minimum_tcb=SnpTcb(bootloader=4, tee=1, snp=25, microcode=219))
    genoa = MILAN.replace(product_name="Genoa")
    strict = MILAN.replace(allowed_chip_ids=("ab" * 64,), trusted_measurement_hex="cd" * 48)

    with pytest.raises(NoReferenceAccepts) as caught:
        judge_snp(AMD.document(), manifest(old, genoa, strict), offline)

    first, second, third = caught.value.rejections
    assert (first.reference, first.check, first.others) == ("snp-0-MILAN", "reported-tcb", 2)
    assert first.found == "bootloader 4, tee 1, snp 24, microcode 219"
    assert first.wanted.startswith("at least bootloader 4, tee 1, snp 25, microcode 219")
    assert "too old: snp is 24, wanted 25" in first.hint
    assert (second.reference, second.check) == ("snp-1-GENOA", "product")
    assert (third.reference, third.check) == ("snp-2-MILAN", "measurement")
    assert third.found == MEASUREMENT.hex()
    assert third.wanted == "cd" * 48
    assert str(caught.value).count("\n") == 3
    assert "snp-0-MILAN: too old" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "check", "hint"),
    [
        ({"report_data": bytes(64)}, "report-data", "a replay, or a relay"),
        ({"measurement": bytes(48)}, "measurement", "another runtime release"),
        ({"policy": 0x30000 | 1 << 19}, "debug", "never trust it"),
        ({"platform_info": 0b10_0111}, "tsme-enabled", "set PlatformInfo.TSMEEnabled"),
        ({"vmpl": 1}, "vmpl", ""),
        ({"id_key_digest": bytes(48)}, "id-key-digest", "launched with the id block"),
    ],
)
def test_a_lie_in_one_field_is_named_with_what_to_do(
    offline: Endorsements, changes: dict[str, Any], check: str, hint: str
) -> None:
    document = AMD.document(AMD.report(**changes))

    with pytest.raises(NoReferenceAccepts) as caught:
        judge_snp(document, manifest(MILAN), offline)

    (rejection,) = caught.value.rejections
    assert rejection.check == check
    assert hint in rejection.hint
    assert rejection.found != rejection.wanted


def test_evidence_for_another_key_is_refused_by_the_given_report_data(
    offline: Endorsements,
) -> None:
    with pytest.raises(NoReferenceAccepts, match="report-data is c3"):
        judge_snp(AMD.document(), manifest(MILAN), offline, report_data=bytes(64))


def test_a_revoked_intermediate_is_refused(offline: Endorsements) -> None:
    serial = parse_certificate(AMD.chain.ask_der).serial
    document = AMD.document(extras={EXTRA_CRL: AMD.crl(serial)})

    with pytest.raises(NoReferenceAccepts, match="is revoked") as caught:
        judge_snp(document, manifest(MILAN), offline)

    assert caught.value.rejections[0].check == "revoked"


def test_a_policy_of_another_build_is_a_mismatch_and_not_a_rejection(
    offline: Endorsements,
) -> None:
    document = AMD.document(AMD.report(host_data=bytes(32)))

    with pytest.raises(UnknownPolicy, match=f"{'00' * 32} is none of the 2") as caught:
        judge_snp(document, manifest(MILAN), offline)

    assert caught.value.exit_code == 42
    assert "another build" in caught.value.hint


def test_evidence_of_a_kind_without_reference_values_is_refused_at_once(
    offline: Endorsements, intel: Intel
) -> None:
    with pytest.raises(EvidenceRejected, match="is of SEV-SNP, and the manifest has no reference"):
        judge_snp(AMD.document(), manifest(tdx=(TDX,)), offline)
    with pytest.raises(EvidenceRejected, match="is of TDX, and the manifest has no reference"):
        judge_tdx(intel.quote(), manifest(MILAN), offline, intel)


def test_a_manifest_with_gaps_is_not_judged_by(offline: Endorsements) -> None:
    gap = MILAN.replace(minimum_tcb=SnpTcb(bootloader=3, tee=0, snp=8))

    with pytest.raises(MissingReferenceValues, match="MicrocodeVersion is missing"):
        judge_snp(AMD.document(), manifest(gap), offline)


def test_simulated_evidence_says_that_it_is(offline: Endorsements, tmp_path: Path) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW)
    document = processor.issuer(HOST_DATA).issue(REPORT_DATA)
    trusting = manifest(simulated=(simulated_reference(processor.root_sha256_hex),))

    said = judge_snp(document, trusting, offline)

    assert (said["accepted_by"], said["simulated"]) == ("simulated-0", True)
    with pytest.raises(NoReferenceAccepts, match="line Simulated, wanted Milan"):
        judge_snp(document, manifest(MILAN), offline)


@pytest.mark.parametrize("as_document", [False, True])
def test_a_quote_is_accepted_raw_and_as_document(
    offline: Endorsements, intel: Intel, as_document: bool
) -> None:
    content = intel.quote()
    if as_document:
        content = render_document(parse_quote(content))

    said = judge_tdx(content, manifest(tdx=(TDX,)), offline, intel)

    assert said["accepted_by"] == "tdx-0"
    assert (said["tee"], said["tcb_status"], said["role"]) == ("TDX", "UpToDate", "coordinator")
    assert said["at_hand"] == {"collateral": "given"}


def test_a_quote_without_collateral_is_refused_and_says_why_there_is_none(
    offline: Endorsements, intel: Intel
) -> None:
    with pytest.raises(NoReferenceAccepts) as caught:
        judge_tdx(intel.quote(), manifest(tdx=(TDX,)), offline, intel, collateral=None)

    assert "tdx-0: collateral not available for FMSPC b0c06f000000" in str(caught.value)
    assert "not available: collateral: https://api.trustedservices.intel.com" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "check", "hint"),
    [
        ({"mr_td": bytes(48)}, "MRTD", "another runtime release"),
        ({"mr_seam": bytes(48)}, "MRSEAM", "another TDX module"),
        ({"report_data": bytes(64)}, "REPORTDATA", "a replay, or a relay"),
        (
            {"rtmrs": (b"\x01" * 48, b"\x02" * 48, b"\x03" * 48, b"\x04" * 48)},
            "RTMR3",
            "does not use",
        ),
    ],
)
def test_a_td_in_another_state_is_named_by_field(
    offline: Endorsements, intel: Intel, change: dict[str, Any], check: str, hint: str
) -> None:
    content = intel.quote(changed(Body(), **change))

    with pytest.raises(NoReferenceAccepts) as caught:
        judge_tdx(content, manifest(tdx=(TDX,)), offline, intel)

    (rejection,) = caught.value.rejections
    assert rejection.check == check
    assert hint in rejection.hint
    assert rejection.found
    assert rejection.wanted


def test_a_forged_quote_asks_nobody_for_collateral(offline: Endorsements, intel: Intel) -> None:
    content = bytearray(intel.quote())
    content[0x60] ^= 1

    with pytest.raises(NoReferenceAccepts, match="the signature does not verify") as caught:
        judge_tdx(bytes(content), manifest(tdx=(TDX,)), offline, intel, collateral=None)

    assert caught.value.troubles == ()


def test_a_quote_of_version_5_is_refused_by_its_version(
    offline: Endorsements, intel: Intel
) -> None:
    with pytest.raises(NoReferenceAccepts, match="version is 5, wanted 4"):
        judge_tdx(intel.quote(version=5), manifest(tdx=(TDX,)), offline, intel)


def test_a_quote_of_version_5_is_accepted_where_it_is_switched_on(
    offline: Endorsements, intel: Intel
) -> None:
    said = judge_tdx(
        intel.quote(version=5), manifest(tdx=(TDX,)), offline, intel, allow_quote_v5=True
    )

    assert said["accepted_by"] == "tdx-0"


@pytest.mark.skipif(not ATTESTATION.is_dir(), reason="test data of real hardware is not at hand")
def test_a_providers_key_is_judged_only_where_it_is_switched_on(offline: Endorsements) -> None:
    content = (ATTESTATION / "snp" / "milan-v3-vlek-vmpl1.attestation.pb").read_bytes()
    at = datetime(2024, 12, 11, tzinfo=UTC)
    checks = []

    for allowed in (False, True):
        with pytest.raises(NoReferenceAccepts) as caught:
            judge_snp(content, manifest(MILAN), offline, now=at, roots=None, allow_vlek=allowed)
        checks.append(caught.value.rejections[0].check)

    assert checks[0] == "vlek-not-allowed"
    assert checks[1] != "vlek-not-allowed"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"", "0 bytes in no known form of evidence", id="nothing"),
        pytest.param(b"hello", "5 bytes in no known form of evidence", id="text"),
        pytest.param(b"HCLA" + bytes(100), "report", id="cut container"),
        pytest.param(b"\x0a\x03abc", "not a SEV-SNP document", id="other protobuf"),
        pytest.param(b"\x30\x03\x02\x01\x00", "certificate", id="other DER"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nzz\n-----END", "certificate", id="broken PEM"),
        pytest.param(bytes(0x4A0), "version", id="zero report"),
    ],
)
def test_what_is_no_evidence_is_refused_as_malformed(content: bytes, message: str) -> None:
    with pytest.raises(MalformedEvidence, match=message):
        open_carrier(content)


def test_a_certificate_without_evidence_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="carries 0 evidence documents"):
        open_carrier(snp_certificate(b"\x05\x00", oid="1.3.9901.3.1"))


def test_a_report_comes_without_certificates() -> None:
    carried = open_carrier(AMD.report().raw)

    assert isinstance(carried.evidence, SnpDocument)
    assert carried.evidence.vcek_der == b""


@pytest.mark.parametrize("carrier", ["report", "container", "document", "certificate", "quote"])
def test_damaged_carriers_raise_nothing_but_our_own_errors(carrier: str, intel: Intel) -> None:
    whole = {
        "report": AMD.report().raw,
        "container": b"HCLA".ljust(32, b"\0") + AMD.report().raw,
        "document": AMD.document(),
        "certificate": snp_certificate(AMD.document()),
        "quote": intel.quote(),
    }[carrier]
    random = Random(carrier)

    for _ in range(400):
        content = bytearray(whole)
        for _ in range(random.randint(1, 4)):
            content[random.randrange(len(content))] = random.randrange(256)
        if random.random() < 0.3:
            del content[random.randrange(len(content)) :]
        with contextlib.suppress(EvidenceRejected):
            open_carrier(bytes(content))
