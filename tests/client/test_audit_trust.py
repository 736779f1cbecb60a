"""Which guests a manifest accepts, as the audit says it."""

from contrast_tasks.client.audit_trust import describe_trust
from contrast_tasks.trusted_guests import (
    GuestPolicy,
    PlatformInfo,
    ReferenceValues,
    SimulatedReference,
    SnpReference,
    SnpTcb,
    TdxReference,
)

TCB = SnpTcb(bootloader=3, tee=0, snp=8, microcode=115)


def lines(values: ReferenceValues) -> list[str]:
    return list(describe_trust(values))


def test_an_snp_guest_is_described_with_everything_it_is_compared_with() -> None:
    value = SnpReference(
        product_name="Milan",
        trusted_measurement_hex="ab" * 48,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(abi_minor=31, debug=True),
        platform_info=PlatformInfo(tsme_enabled=True),
        allowed_chip_ids=("cd" * 64,),
        minimum_mitigation_vector=5,
        apeip_hex="00800b00",
        allow_vlek=True,
    )

    assert lines(ReferenceValues(snp=(value,))) == [
        f"SEV-SNP Milan, measurement {'ab' * 48}, minimum TCB bootloader 3 tee 0 snp 8 microcode 115",
        "  guest policy 0xb001f, the host may read its memory, platform smt_enabled tsme_enabled",
        f"  chip IDs {'cd' * 64}",
        "  mitigations at least 0x5",
        "  also by the key of a cloud provider (VLEK), which names no chip",
        "  for 1 to 220 processors, APEIP 00800b00",
    ]


def test_what_is_not_checked_is_said() -> None:
    value = SnpReference(
        product_name="Genoa",
        trusted_measurement_hex="ab" * 48,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(),
        platform_info=None,
    )

    assert lines(ReferenceValues(snp=(value,)))[1:] == [
        "  guest policy 0x30000, platform not checked",
        "  any machine, no chip IDs are listed",
    ]


def test_a_tdx_guest_is_described_with_everything_it_is_compared_with() -> None:
    value = TdxReference(
        mr_td_hex="01" * 48,
        rtmrs_hex=("02" * 48, "03" * 48, "04" * 48, "00" * 48),
        mr_seam_hex="05" * 48,
        xfam_hex="e702060000000000",
        td_attributes_hex="0000001000000000",
        minimum_tee_tcb_svn_hex="06" * 16,
        minimum_qe_svn=0,
        memory_integrity=False,
    )

    assert lines(ReferenceValues(tdx=(value,))) == [
        f"TDX, MRTD {'01' * 48}",
        f"  RTMR0 {'02' * 48}",
        f"  RTMR1 {'03' * 48}",
        f"  RTMR2 {'04' * 48}",
        f"  RTMR3 {'00' * 48}",
        f"  MRSEAM {'05' * 48}",
        "  XFAM e702060000000000",
        "  TDATTRIBUTES 0000001000000000",
        f"  minimum TEE TCB SVN {'06' * 16}",
        "  minimum QE SVN 0",
        "  memory integrity False",
        "  any machine, no PIIDs are listed",
    ]


def test_a_simulated_processor_proves_nothing() -> None:
    value = SimulatedReference(
        root_sha256_hex="07" * 32,
        trusted_measurement_hex="08" * 48,
        minimum_tcb=TCB,
        guest_policy=GuestPolicy(),
        platform_info=PlatformInfo(smt_enabled=False),
    )

    assert lines(ReferenceValues(simulated=(value,))) == [
        f"a simulated processor with root {'07' * 32}: proves nothing about hardware",
        f"  measurement {'08' * 48}, minimum TCB bootloader 3 tee 0 snp 8 microcode 115",
        "  guest policy 0x30000, platform with nothing enabled",
    ]
