"""The reference values of a manifest as lines of the audit report."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contrast_tasks.trusted_guests import (
        PlatformInfo,
        ReferenceValues,
        SimulatedReference,
        SnpReference,
        SnpTcb,
        TdxReference,
    )


def describe_trust(values: "ReferenceValues") -> Iterator[str]:
    """Yield for each reference value a heading, and indented lines with all values that evidence is compared with."""
    for snp in values.snp:
        yield (
            f"SEV-SNP {snp.product_name}, measurement {snp.trusted_measurement_hex}, minimum TCB {_tcb(snp.minimum_tcb)}"
        )
        yield from _launch(snp)
        yield f"  {_machines('chip IDs', snp.allowed_chip_ids)}"
        if snp.minimum_mitigation_vector:
            yield f"  mitigations at least {snp.minimum_mitigation_vector:#x}"
        if snp.allow_vlek:
            yield "  also by the key of a cloud provider (VLEK), which names no chip"
        if snp.cpus:
            yield f"  measured for {snp.cpus} processors"
        if snp.apeip_hex:
            yield f"  for 1 to 220 processors, APEIP {snp.apeip_hex}"
    for tdx in values.tdx:
        yield from _tdx(tdx)
    for simulated in values.simulated:
        yield (
            f"a simulated processor with root {simulated.root_sha256_hex}: proves nothing about hardware"
        )
        yield (
            f"  measurement {simulated.trusted_measurement_hex}, minimum TCB {_tcb(simulated.minimum_tcb)}"
        )
        yield from _launch(simulated)


def _tcb(tcb: "SnpTcb") -> str:
    return f"bootloader {tcb.bootloader} tee {tcb.tee} snp {tcb.snp} microcode {tcb.microcode}"


def _launch(value: "SnpReference | SimulatedReference") -> Iterator[str]:
    policy = value.guest_policy
    debug = ", the host may read its memory" if policy.debug else ""
    yield f"  guest policy {policy.to_word():#x}{debug}, platform {_platform(value.platform_info)}"


def _platform(platform: "PlatformInfo | None") -> str:
    if platform is None:
        return "not checked"
    enabled = [name for name in platform.parts if getattr(platform, name)]
    return " ".join(enabled) or "with nothing enabled"


def _machines(what: str, allowed: tuple[str, ...] | None) -> str:
    return f"{what} {' '.join(allowed)}" if allowed else f"any machine, no {what} are listed"


def _tdx(tdx: "TdxReference") -> Iterator[str]:
    yield f"TDX, MRTD {tdx.mr_td_hex}"
    for number, register in enumerate(tdx.rtmrs_hex):
        yield f"  RTMR{number} {register}"
    yield f"  MRSEAM {tdx.mr_seam_hex}"
    for name, value in (
        ("XFAM", tdx.xfam_hex),
        ("TDATTRIBUTES", tdx.td_attributes_hex),
        ("minimum TEE TCB SVN", tdx.minimum_tee_tcb_svn_hex),
        ("minimum QE SVN", tdx.minimum_qe_svn),
        ("minimum PCE SVN", tdx.minimum_pce_svn),
        ("minimum TCB evaluation data number", tdx.min_tcb_evaluation_data_number),
        ("memory integrity", tdx.memory_integrity),
        ("SMT disabled", tdx.smt_disabled),
        ("static platform", tdx.static_platform),
        ("quotes of version 5", tdx.allow_quote_v5),
    ):
        if value is not None:
            yield f"  {name} {value}"
    yield f"  {_machines('PIIDs', tdx.allowed_piids)}"
