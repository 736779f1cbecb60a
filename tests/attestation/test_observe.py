"""What genuine evidence of an unknown machine says, and what is refused because nothing genuine says it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.attestation.carriers import open_carrier
from contrast_tasks.attestation.endorsements.fetch import Access, EndorsementCache, Endorsements
from contrast_tasks.attestation.endorsements.pcs import QE_IDENTITY_URL
from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.attestation.observe import Observation, observe
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.errors import EvidenceRejected
from tests.fakes.attestation import CHIP_ID, HOST_DATA, MEASUREMENT, NOW, REPORT_DATA, FakeAmd
from tests.fakes.intel import Body, Intel, changed

AMD = FakeAmd()
OLDER = Tcb(bootloader=3, tee=1, snp=20, microcode=219)


@pytest.fixture
def offline(tmp_path: Path) -> Endorsements:
    access = Access(get=None, sleep=lambda _: None, monotonic=lambda: 0.0)
    return Endorsements(EndorsementCache(tmp_path / "cache"), access)


@pytest.fixture(scope="module")
def intel() -> Intel:
    return Intel()


def observe_snp(offline: Endorsements, **changes: Any) -> Observation:
    return observed(offline, AMD.document(AMD.report(**changes)))


def observed(offline: Endorsements, document: bytes) -> Observation:
    roots = TrustRoots(amd={"Milan": AMD.anchor, "Turin": FakeAmd(line="Turin").anchor})
    return observe(open_carrier(document).evidence, offline, now=NOW, roots=roots)


def test_a_machine_is_described_by_its_levels_its_guest_and_its_identity(
    offline: Endorsements,
) -> None:
    found = observe_snp(offline)

    assert (found.tee, found.product, found.simulated) == ("SEV-SNP", "Milan", False)
    assert found.values["reported_tcb"] == "bootloader 4, tee 1, snp 24, microcode 219"
    assert found.values["measurement"] == MEASUREMENT.hex()
    assert found.values["host_data"] == HOST_DATA.hex()
    assert found.values["chip_id"] == CHIP_ID.hex()
    assert found.levels == {
        "snp": {"Milan": {"minimum_tcb": {"bootloader": 4, "tee": 1, "snp": 24, "microcode": 219}}}
    }
    assert found.guest == {"snp": {"Milan": {"trusted_measurement": MEASUREMENT.hex()}}}
    assert found.machine == {"snp": {"Milan": {"allowed_chip_ids": [CHIP_ID.hex()]}}}
    assert found.warnings == ()


def test_the_lowest_of_the_levels_that_a_minimum_is_compared_with_is_taken(
    offline: Endorsements,
) -> None:
    found = observe_snp(offline, launch_tcb=OLDER.to_word())

    levels = found.levels["snp"]["Milan"]["minimum_tcb"]
    assert levels == {"bootloader": 3, "tee": 1, "snp": 20, "microcode": 219}
    assert any("the lowest of each level is taken" in text for text in found.warnings)


@pytest.mark.parametrize(
    ("bits", "allowed"),
    [
        (0b10, {"tsme_enabled": True}),
        (0b1000_0000, {"tio_enabled": True}),
        (0b1000_0010, {"tsme_enabled": True, "tio_enabled": True}),
    ],
)
def test_what_a_manifest_would_refuse_of_the_platform_has_to_be_allowed(
    offline: Endorsements, bits: int, allowed: dict[str, bool]
) -> None:
    found = observe_snp(offline, platform_info=0b1 | bits)

    assert found.levels["snp"]["Milan"]["platform_info"] == allowed


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"policy": 0x30000 | 1 << 19}, "may be debugged by its host"),
        ({"vmpl": 2}, "asked for at VMPL 2, a manifest accepts 0"),
        ({"id_key_digest": bytes(48)}, "launched without an ID block"),
    ],
)
def test_what_speaks_against_the_guest_is_a_warning(
    offline: Endorsements, changes: dict[str, Any], warning: str
) -> None:
    (text,) = observe_snp(offline, **changes).warnings

    assert warning in text


def test_a_chip_that_hides_its_id_cannot_be_pinned(offline: Endorsements) -> None:
    found = observe_snp(offline, chip_id=bytes(64))

    assert found.machine == {}
    assert "this machine cannot be pinned" in found.warnings[0]


def test_evidence_of_nobody_is_refused(offline: Endorsements) -> None:
    forged = replace(AMD.report(), measurement=bytes(48))

    with pytest.raises(EvidenceRejected, match="not signed by the endorsement key"):
        observed(offline, AMD.document(forged))


def test_evidence_of_another_vendor_with_the_same_names_is_refused(offline: Endorsements) -> None:
    other = FakeAmd(owner="impostor")

    with pytest.raises(EvidenceRejected, match="root certificate's sha-256"):
        observed(offline, other.document())


def test_an_unknown_line_is_refused(offline: Endorsements) -> None:
    with pytest.raises(EvidenceRejected, match="of the line Genoa, wanted one of Milan, Turin"):
        observe_snp(offline, cpuid_model=0x11)


def test_what_was_not_at_hand_is_told_with_the_refusal(offline: Endorsements) -> None:
    document = AMD.document(extras={})

    with pytest.raises(EvidenceRejected) as caught:
        observed(offline, document)

    assert "no usable revocation list of ARK-Milan" in str(caught.value)
    assert "not available: revocation list: https://kdsintf.amd.com" in str(caught.value)
    assert "endorsements fetch" in caught.value.hint


def test_a_simulated_machine_says_so_and_has_nothing_for_the_settings(
    offline: Endorsements, tmp_path: Path
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path / "processor", now=NOW)

    found = observed(offline, processor.issuer(HOST_DATA).issue(REPORT_DATA))

    assert (found.simulated, found.product) == (True, "Simulated")
    assert (found.levels, found.guest, found.machine) == ({}, {}, {})
    assert found.warnings[0] == (
        "the machine is simulated: its evidence proves nothing about hardware"
    )


def observe_tdx(offline: Endorsements, intel: Intel, quote: bytes) -> Observation:
    roots = TrustRoots(intel_spki=intel.root_spki)
    return observe(open_carrier(quote).evidence, offline, now=NOW, roots=roots)


def test_a_td_is_described_though_its_patch_level_is_unknown(
    offline: Endorsements, intel: Intel
) -> None:
    found = observe_tdx(offline, intel, intel.quote())

    assert (found.tee, found.product) == ("TDX", "")
    assert found.values["tcb_status"] == "unknown"
    assert found.levels == {
        "tdx": {"mr_seam": "5e" * 48, "minimum_tee_tcb_svn": Body().tee_tcb_svn.hex()}
    }
    assert found.guest["tdx"]["rtmrs"] == [rtmr.hex() for rtmr in Body().rtmrs]
    assert found.machine == {"tdx": {"allowed_piids": [bytes(range(16)).hex()]}}
    (warning,) = found.warnings
    assert warning.startswith("the patch level is unknown: collateral: https://api.trusted")
    assert QE_IDENTITY_URL not in warning


def test_a_td_under_debug_is_warned_of(offline: Endorsements, intel: Intel) -> None:
    body = changed(Body(), td_attributes=bytes.fromhex("0100001000000000"))

    found = observe_tdx(offline, intel, intel.quote(body))

    assert found.warnings[0] == "TDATTRIBUTES.DEBUG is 1, but 0 is wanted"


def test_a_forged_quote_is_refused(offline: Endorsements, intel: Intel) -> None:
    content = bytearray(intel.quote())
    content[0x60] ^= 1

    with pytest.raises(EvidenceRejected, match="the signature does not verify"):
        observe_tdx(offline, intel, bytes(content))
