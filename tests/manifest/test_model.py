import pytest

from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    PlatformInfo,
    ReferenceValues,
    SimulatedReference,
    SnpTcb,
)

SIMULATED = SimulatedReference(
    root_sha256_hex="c3" * 32,
    trusted_measurement_hex="6c" * 48,
    minimum_tcb=SnpTcb(),
    guest_policy=GuestPolicy(),
)


@pytest.mark.parametrize(
    ("policy", "word"),
    [
        (GuestPolicy(), 0x30000),
        (GuestPolicy(abi_minor=31), 0x3001F),
        (GuestPolicy(abi_major=1), 0x30100),
        (GuestPolicy(smt=False), 0x20000),
        (GuestPolicy(migrate_ma=True), 0x70000),
        (GuestPolicy(debug=True), 0xB0000),
        (GuestPolicy(single_socket=True), 0x130000),
        (GuestPolicy(cxl_allowed=True), 0x230000),
        (GuestPolicy(mem_aes_256_xts=True), 0x430000),
        (GuestPolicy(rapl_dis=True), 0x830000),
        (GuestPolicy(ciphertext_hiding_dram=True), 0x1030000),
        (GuestPolicy(page_swap_disable=True), 0x2030000),
    ],
)
def test_the_guest_policy_word_has_each_flag_at_its_bit(policy: GuestPolicy, word: int) -> None:
    assert policy.to_word() == word


@pytest.mark.parametrize(
    ("info", "word"),
    [
        (PlatformInfo(smt_enabled=False), 0),
        (PlatformInfo(), 1),
        (PlatformInfo(tsme_enabled=True), 0b11),
        (PlatformInfo(ecc_enabled=True), 0b101),
        (PlatformInfo(rapl_disabled=True), 0b1001),
        (PlatformInfo(ciphertext_hiding_dram_enabled=True), 0b10001),
        (PlatformInfo(alias_check_complete=True), 0b100001),
        (PlatformInfo(tio_enabled=True), 0b10000001),
    ],
)
def test_the_platform_info_word_has_each_flag_at_its_bit(info: PlatformInfo, word: int) -> None:
    assert info.to_word() == word


def test_a_tcb_with_zeros_is_complete_and_one_with_none_is_not() -> None:
    assert SnpTcb(bootloader=0, tee=0, snp=0, microcode=0).is_complete
    assert not SnpTcb(bootloader=0, tee=0, snp=0).is_complete


def test_the_coordinator_hashes_are_sorted_and_leave_out_workloads() -> None:
    manifest = Manifest(
        policies={
            "c" * 64: PolicyEntry(sans=("c",), role="coordinator"),
            "a" * 64: PolicyEntry(sans=("a",), role="coordinator"),
            "b" * 64: PolicyEntry(sans=("b",)),
        },
        reference_values=ReferenceValues(),
    )

    assert manifest.coordinator_policy_hashes == ("a" * 64, "c" * 64)


def test_a_manifest_trusts_simulated_evidence_only_with_an_entry_for_it() -> None:
    with_entry = Manifest(policies={}, reference_values=ReferenceValues(simulated=(SIMULATED,)))
    without = Manifest(policies={}, reference_values=ReferenceValues())

    assert with_entry.trusts_simulated
    assert not without.trusts_simulated
