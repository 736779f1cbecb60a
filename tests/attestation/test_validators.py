import ast
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation import validators
from contrast_tasks.attestation.errors import (
    ClaimsRejected,
    CollateralUnavailable,
    EndorsementRejected,
    MalformedEvidence,
    WrongPolicyHash,
)
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.snp.lines import amd_anchor
from contrast_tasks.attestation.snp.verify import SnpValidator
from contrast_tasks.attestation.tdx.collateral import Collateral, parse_collateral
from contrast_tasks.attestation.tdx.document import render_document
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import TdxValidator
from contrast_tasks.attestation.trust_roots import TrustRoots, intel_root_spki
from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.errors import MissingReferenceValues, UsageError
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.platforms import SIMULATED_MEASUREMENT
from contrast_tasks.records import Record
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
    TdxReference,
)
from tests.fakes.attestation import NOW, REPORT_DATA
from tests.fakes.intel import Body, Intel, changed

COORDINATOR, WORKLOAD = "0a" * 32, "0b" * 32
TCB = SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)
MILAN = SnpReference(
    product_name="Milan",
    trusted_measurement_hex="ab" * 48,
    minimum_tcb=TCB,
    guest_policy=GuestPolicy(),
)
TDX = TdxReference(
    mr_td_hex="7d" * 48,
    rtmrs_hex=("01" * 48, "02" * 48, "03" * 48, "00" * 48),
    mr_seam_hex="5e" * 48,
    xfam_hex="e702060000000000",
    minimum_tee_tcb_svn_hex="06010300" + "00" * 12,
    td_attributes_hex="0000001000000000",
    allowed_piids=(bytes(range(16)).hex(),),
)


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    place: Path = tmp_path_factory.mktemp("local") / "processor"
    return SimulatedProcessor.load_or_create(place, now=NOW)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


def manifest(
    *snp: SnpReference,
    simulated: tuple[SimulatedReference, ...] = (),
    tdx: tuple[TdxReference, ...] = (),
) -> Manifest:
    return Manifest(
        policies={
            COORDINATOR: PolicyEntry(sans=(), role="coordinator"),
            WORKLOAD: PolicyEntry(sans=()),
        },
        reference_values=ReferenceValues(snp=snp, simulated=simulated, tdx=tdx),
    )


def simulated_reference(processor: SimulatedProcessor) -> SimulatedReference:
    return SimulatedReference(
        root_sha256_hex=processor.root_sha256_hex,
        trusted_measurement_hex=SIMULATED_MEASUREMENT,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(),
    )


def test_names_follow_the_manifest_order_and_hex_becomes_bytes() -> None:
    genoa = MILAN.replace(
        product_name="Genoa", allowed_chip_ids=("cd" * 64,), minimum_mitigation_vector=5
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
    gap = MILAN.replace(minimum_tcb=TCB.replace(**{member: None}))

    with pytest.raises(MissingReferenceValues, match=r"snp\[1\]\.MinimumTCB\.\w+ is missing"):
        validators_for(manifest(MILAN, gap))


@pytest.mark.parametrize(
    ("measurement", "found"), [("", "missing"), ("ab" * 47, "47 bytes long"), ("xy", "'xy'")]
)
def test_a_missing_or_malformed_measurement_is_an_error(measurement: str, found: str) -> None:
    with pytest.raises(MissingReferenceValues, match=f"TrustedMeasurement is {found}"):
        validators_for(manifest(MILAN.replace(trusted_measurement_hex=measurement)))


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
        validators_for(manifest(MILAN.replace(product_name="Rome")))


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
        manifest(*(MILAN.replace(product_name=line) for line in ("Milan", "Genoa", "Turin")))
    ):
        with pytest.raises(EndorsementRejected, match="line Simulated"):
            validator.verify(document, REPORT_DATA, NOW)


def test_simulated_evidence_of_another_machine_is_refused(processor: SimulatedProcessor) -> None:
    entry = simulated_reference(processor).replace(root_sha256_hex="00" * 32)
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


def test_tdx_references_come_between_the_others_under_the_pinned_root(
    processor: SimulatedProcessor,
) -> None:
    every = validators_for(manifest(MILAN, simulated=(simulated_reference(processor),), tdx=(TDX,)))

    assert [validator.name for validator in every] == ["snp-0-MILAN", "tdx-0", "simulated-0"]
    tdx = every[1]
    assert isinstance(tdx, TdxValidator)
    assert tdx.root_spki == intel_root_spki()
    assert tdx.expectation.mr_td == bytes.fromhex("7d" * 48)


@pytest.mark.parametrize(
    ("change", "member", "found"),
    [
        ({"mr_td_hex": ""}, "MrTd", "missing"),
        ({"mr_seam_hex": ""}, "MrSeam", "missing"),
        ({"mr_seam_hex": "zz"}, "MrSeam", "'zz'"),
        ({"rtmrs_hex": ("01" * 48, "", "03" * 48, "00" * 48)}, r"Rtmrs\[1\]", "missing"),
        ({"rtmrs_hex": ("01" * 48,)}, "Rtmrs", "1 values"),
        ({"xfam_hex": "e7"}, "Xfam", "1 bytes long"),
        ({"minimum_tee_tcb_svn_hex": ""}, "MinimumTeeTcbSvn", "missing"),
        ({"td_attributes_hex": "00" * 9}, "TdAttributes", "9 bytes long"),
        ({"allowed_piids": ("00" * 15,)}, "AllowedPIIDs", "15 bytes long"),
    ],
)
def test_a_missing_or_malformed_tdx_value_is_an_error(
    change: dict[str, Any], member: str, found: str
) -> None:
    with pytest.raises(MissingReferenceValues, match=rf"tdx\[0\]\.{member} is {found}"):
        validators_for(manifest(tdx=(TDX.replace(**change),)))


def test_a_quote_is_accepted_with_the_collateral_at_hand_and_refused_without(intel: Intel) -> None:
    bundle = parse_collateral(intel.collateral())
    document = render_document(parse_quote(intel.quote(coordinator_body())))
    roots = TrustRoots(intel_spki=intel.root_spki)
    asked: list[tuple[bytes, str]] = []

    def collateral(fmspc: bytes, authority: str) -> Collateral:
        asked.append((fmspc, authority))
        return bundle

    (validator,) = validators_for(manifest(tdx=(TDX,)), collateral=collateral, roots=roots)
    (without,) = validators_for(manifest(tdx=(TDX,)), roots=roots)

    assert validator.verify(document, b"\xda" * 64, NOW).host_data.hex() == COORDINATOR
    assert asked == [(bytes.fromhex("b0c06f000000"), "platform")]
    with pytest.raises(CollateralUnavailable, match="collateral not available"):
        without.verify(document, b"\xda" * 64, NOW)


def test_a_tdx_workload_cannot_pose_as_the_coordinator(intel: Intel) -> None:
    bundle = parse_collateral(intel.collateral())
    (validator,) = validators_for(
        manifest(tdx=(TDX,)),
        coordinator_only=True,
        collateral=lambda *_: bundle,
        roots=TrustRoots(intel_spki=intel.root_spki),
    )
    workload = coordinator_body(mr_config_id=bytes.fromhex(WORKLOAD) + bytes(16))

    with pytest.raises(WrongPolicyHash, match=f"found {WORKLOAD}, wanted {COORDINATOR}"):
        validator.verify(render_document(parse_quote(intel.quote(workload))), b"\xda" * 64, NOW)


def coordinator_body(**changes: Any) -> Body:
    return changed(Body(), **{"mr_config_id": bytes.fromhex(COORDINATOR) + bytes(16), **changes})


def test_a_reference_value_opts_into_providers_keys() -> None:
    found = validators_for(manifest(MILAN.replace(allow_vlek=True), MILAN))

    assert [
        validator.trust.allow_vlek for validator in found if isinstance(validator, SnpValidator)
    ] == [True, False]


def test_a_reference_value_opts_into_quotes_of_version_5(intel: Intel) -> None:
    bundle = parse_collateral(intel.collateral())
    document = render_document(parse_quote(intel.quote(coordinator_body(), version=5)))
    roots = TrustRoots(intel_spki=intel.root_spki)
    values = (TDX, TDX.replace(allow_quote_v5=True))

    strict, opted = validators_for(manifest(tdx=values), collateral=lambda *_: bundle, roots=roots)

    with pytest.raises(MalformedEvidence, match="version"):
        strict.verify(document, b"\xda" * 64, NOW)
    assert opted.verify(document, b"\xda" * 64, NOW).host_data.hex() == COORDINATOR


# What says for which machines a measurement was made; evidence has nothing to compare it with.
_FOR_THE_READER = {"cpus", "platform"}


@pytest.mark.parametrize("entry", [SnpReference, SimulatedReference, TdxReference])
def test_no_member_of_a_reference_value_is_trusted_without_being_judged(
    entry: type[Record],
) -> None:
    tree = ast.parse(Path(str(validators.__file__)).read_text())
    read = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}

    assert set(entry.parts) - read <= _FOR_THE_READER
