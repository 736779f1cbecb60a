from dataclasses import replace
from pathlib import Path

import pytest

from contrast_tasks.attestation.amd import amd_anchor
from contrast_tasks.attestation.errors import ClaimsRejected, EndorsementRejected, WrongPolicyHash
from contrast_tasks.attestation.simulated import SimulatedProcessor
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.attestation.verify import SnpValidator
from contrast_tasks.errors import MissingReferenceValues, UsageError
from contrast_tasks.manifest.model import (
    GuestPolicy,
    Manifest,
    PolicyEntry,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
)
from contrast_tasks.manifest.platforms import SIMULATED_MEASUREMENT
from tests.fakes.attestation import NOW, REPORT_DATA

COORDINATOR, WORKLOAD = "0a" * 32, "0b" * 32
TCB = SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)
MILAN = SnpReference(
    product_name="Milan",
    trusted_measurement_hex="ab" * 48,
    minimum_tcb=TCB,
    guest_policy=GuestPolicy(),
)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    place: Path = tmp_path_factory.mktemp("local") / "processor"
    return SimulatedProcessor.load_or_create(place, now=NOW)


def manifest(*snp: SnpReference, simulated: tuple[SimulatedReference, ...] = ()) -> Manifest:
    return Manifest(
        policies={
            COORDINATOR: PolicyEntry(sans=(), role="coordinator"),
            WORKLOAD: PolicyEntry(sans=()),
        },
        reference_values=ReferenceValues(snp=snp, simulated=simulated),
    )


def simulated_reference(processor: SimulatedProcessor) -> SimulatedReference:
    return SimulatedReference(
        root_sha256_hex=processor.root_sha256_hex,
        trusted_measurement_hex=SIMULATED_MEASUREMENT,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(),
    )


def test_names_follow_the_manifest_order_and_hex_becomes_bytes() -> None:
    genoa = replace(
        MILAN, product_name="Genoa", allowed_chip_ids=("cd" * 64,), minimum_mitigation_vector=5
    )

    first, second = snp_validators(manifest(MILAN, genoa))

    assert (first.name, second.name) == ("snp-0-MILAN", "snp-1-GENOA")
    assert first.trust.anchor == amd_anchor("Milan")
    assert first.expectation.measurement == bytes.fromhex("ab" * 48)
    assert first.expectation.guest_policy == 0x30000
    assert first.expectation.platform_info == 1
    assert first.trust.check_revocation
    assert not first.trust.allow_vlek
    assert second.expectation.chip_ids == {bytes.fromhex("cd" * 64)}
    assert second.expectation.mitigation_vector == 5


@pytest.mark.parametrize("member", ["bootloader", "tee", "snp", "microcode"])
def test_a_missing_minimum_is_an_error_and_not_zero(member: str) -> None:
    gap = replace(MILAN, minimum_tcb=replace(TCB, **{member: None}))

    with pytest.raises(MissingReferenceValues, match=r"snp\[1\]\.MinimumTCB\.\w+ is missing"):
        validators_for(manifest(MILAN, gap))


@pytest.mark.parametrize(
    ("measurement", "found"), [("", "missing"), ("ab" * 47, "47 bytes long"), ("xy", "'xy'")]
)
def test_a_missing_or_malformed_measurement_is_an_error(measurement: str, found: str) -> None:
    with pytest.raises(MissingReferenceValues, match=f"TrustedMeasurement is {found}"):
        validators_for(manifest(replace(MILAN, trusted_measurement_hex=measurement)))


@pytest.mark.parametrize("pin", ["", "00" * 31, "zz"])
def test_a_simulated_entry_without_a_whole_root_pin_is_an_error(pin: str) -> None:
    entry = SimulatedReference(
        root_sha256_hex=pin,
        trusted_measurement_hex="ab" * 48,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(),
    )

    with pytest.raises(MissingReferenceValues, match="RootSHA256"):
        validators_for(manifest(simulated=(entry,)))


def test_an_unknown_product_is_an_error() -> None:
    with pytest.raises(UsageError, match="unknown processor line 'Rome'"):
        validators_for(manifest(replace(MILAN, product_name="Rome")))


def test_no_reference_value_gives_no_validator() -> None:
    assert validators_for(manifest()) == ()


def test_simulated_evidence_is_accepted_under_its_own_root(processor: SimulatedProcessor) -> None:
    (validator,) = snp_validators(manifest(simulated=(simulated_reference(processor),)))
    issuer = processor.issuer(bytes.fromhex(WORKLOAD))

    evidence = validator.verify(issuer.issue(REPORT_DATA), REPORT_DATA, NOW)

    assert evidence.reference_name == "simulated-0"
    assert evidence.host_data.hex() == WORKLOAD


def test_simulated_evidence_is_refused_by_every_hardware_reference(
    processor: SimulatedProcessor,
) -> None:
    document = processor.issuer(bytes.fromhex(WORKLOAD)).issue(REPORT_DATA)

    for validator in validators_for(
        manifest(*(replace(MILAN, product_name=line) for line in ("Milan", "Genoa", "Turin")))
    ):
        with pytest.raises(EndorsementRejected, match="line Simulated"):
            validator.verify(document, REPORT_DATA, NOW)


def test_simulated_evidence_of_another_machine_is_refused(processor: SimulatedProcessor) -> None:
    entry = replace(simulated_reference(processor), root_sha256_hex="00" * 32)
    (validator,) = validators_for(manifest(simulated=(entry,)))
    document = processor.issuer(bytes.fromhex(WORKLOAD)).issue(REPORT_DATA)

    with pytest.raises(EndorsementRejected, match=f"wanted {'00' * 32}"):
        validator.verify(document, REPORT_DATA, NOW)


def test_a_workload_cannot_pose_as_the_coordinator(processor: SimulatedProcessor) -> None:
    trusting = manifest(simulated=(simulated_reference(processor),))
    (validator,) = validators_for(trusting, coordinator_only=True)
    genuine = processor.issuer(bytes.fromhex(COORDINATOR)).issue(REPORT_DATA)
    workload = processor.issuer(bytes.fromhex(WORKLOAD)).issue(REPORT_DATA)

    assert validator.verify(genuine, REPORT_DATA, NOW).host_data.hex() == COORDINATOR
    with pytest.raises(WrongPolicyHash, match=f"found {WORKLOAD}, wanted {COORDINATOR}"):
        validator.verify(workload, REPORT_DATA, NOW)


def test_another_guest_policy_is_pinned_by_the_id_key(processor: SimulatedProcessor) -> None:
    (validator,) = validators_for(manifest(simulated=(simulated_reference(processor),)))
    issuer = processor.issuer(bytes.fromhex(WORKLOAD), guest_policy=0x3001F)

    with pytest.raises(ClaimsRejected, match="id-key-digest"):
        validator.verify(issuer.issue(REPORT_DATA), REPORT_DATA, NOW)


def snp_validators(manifest: Manifest) -> tuple[SnpValidator, ...]:
    return tuple(one for one in validators_for(manifest) if isinstance(one, SnpValidator))
