"""Compare a genuine report with one reference value; all comparisons are made, and each gives a Check.

Source: docs/internals/attestation.md 2.3, 2.4, 2.8 (in the order of its table, with the additions of 2026).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from contrast_tasks.attestation.checks import HINT_DEBUG, HINT_REPORT_DATA, HINT_RUNTIME, Check
from contrast_tasks.attestation.flags import Flag, Flags
from contrast_tasks.attestation.snp.endorsement import KIND_VCEK, LINE_TURIN, Endorsement
from contrast_tasks.attestation.snp.flags import GUEST_POLICY, PLATFORM_INFO
from contrast_tasks.attestation.snp.id_block import id_key_digest
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb
from contrast_tasks.attestation.snp.vmsa import DIGEST_BYTES, MAXIMUM_VCPUS, vcpus_by_digest

# What to update for a newer level of each component, and what to do until reports show it.
_FIRMWARE = {
    "fmc": "the machine's BIOS",
    "bootloader": "the machine's BIOS",
    "tee": "the machine's BIOS",
    "snp": "the SEV firmware (part of the BIOS, or loaded by the host)",
    "microcode": "the processor's microcode (part of the BIOS, or loaded by the host)",
}
_AFTERWARDS = {
    "committed-tcb": "reboot and commit the firmware with 'snphost commit'",
    "launch-tcb": "reboot and start the guest again",
}
_ON_OFF = {True: "on", False: "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Processors:
    """Parameters of further virtual processors, by which a guest's launch digest is extended.

    start_address: EIP at which all but the first start, 32 bits. cpu_signature: CPUID(1).EAX that they show.
    """

    start_address: int
    cpu_signature: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpExpectation:
    """A reference value as bytes.

    measurement: 48 bytes. guest_policy: the 64-bit word that the guest must have been launched with.
    platform_info: bits as in the report; None: not checked (manifests of early 2025).
    chip_ids: 64 bytes each; empty: any chip. mitigation_vector: bits that both vectors must have.
    processors: if given, `measurement` is for one virtual processor, and any number up to 220 is acceptable.
    """

    measurement: bytes
    minimum_tcb: Tcb
    guest_policy: int
    platform_info: int | None
    chip_ids: frozenset[bytes] = frozenset()
    mitigation_vector: int = 0
    processors: Processors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportTcbs:
    """The four TCB versions of a report, split into components."""

    current: Tcb
    reported: Tcb
    committed: Tcb
    launch: Tcb

    @classmethod
    def of(cls, report: SnpReport, line: str) -> "ReportTcbs":
        """Split the report's words in the layout of the product line; raises MalformedEvidence."""
        turin = line == LINE_TURIN

        def split(name: str) -> Tcb:
            field = f"{name}_tcb"
            return parse_tcb(getattr(report, field), turin=turin, where=field.upper())

        return cls(**{name: split(name) for name in cls.__dataclass_fields__})


def endorsement_checks(
    report: SnpReport, tcbs: ReportTcbs, endorsement: Endorsement
) -> Iterator[Check]:
    """Yield the checks that an endorsement certificate is for this chip at this patch level."""
    yield Check(
        "endorsement-tcb",
        endorsement.tcb == tcbs.reported,
        str(endorsement.tcb),
        f"the report's {tcbs.reported}",
        "the certificate is for another firmware level: fetch the certificate for REPORTED_TCB",
    )
    yield _at_least("current-tcb", tcbs.current, endorsement.tcb, "the endorsement key's tcb")
    if endorsement.kind == KIND_VCEK:
        chip_id = report.chip_id
        wanted = endorsement.hwid.ljust(len(chip_id), b"\0")
        masked = not any(chip_id)
        yield Check(
            "chip-id",
            masked or chip_id == wanted,
            "masked" if masked else chip_id.hex(),
            wanted.hex(),
            "report and certificate are of different chips",
        )


def claim_checks(
    report: SnpReport, tcbs: ReportTcbs, expectation: SnpExpectation, report_data: bytes
) -> Iterator[Check]:
    """Yield the checks against the reference value. `endorsement_checks` has those of the endorsement."""
    is_bound = report.report_data == report_data
    yield Check(
        "report-data", is_bound, report.report_data.hex(), report_data.hex(), HINT_REPORT_DATA
    )
    yield _measurement_check(report, expectation)
    yield _policy_abi_check(report.policy, expectation.guest_policy)
    yield from _flag_checks(report.policy, expectation.guest_policy, GUEST_POLICY)
    if expectation.platform_info is not None:
        yield from _flag_checks(report.platform_info, expectation.platform_info, PLATFORM_INFO)
    yield Check("vmpl", report.vmpl == 0, str(report.vmpl), "0")
    yield from _tcb_checks(report, tcbs, expectation.minimum_tcb)
    yield _id_key_check(report, expectation)
    author_key = report.author_key_enabled
    yield Check(
        "author-key", not author_key, "in use" if author_key else "not in use", "not in use"
    )
    if expectation.chip_ids:
        yield Check(
            "allowed-chip-ids",
            report.chip_id in expectation.chip_ids,
            report.chip_id.hex(),
            f"one of the {len(expectation.chip_ids)} allowed chip ids",
            "add the chip to AllowedChipIDs if the machine is yours",
        )
    wanted = expectation.mitigation_vector
    if wanted:
        yield _mitigation_check("launch-mitigations", report.launch_mit_vector, wanted)
        yield _mitigation_check("current-mitigations", report.current_mit_vector, wanted)


def _measurement_check(report: SnpReport, expectation: SnpExpectation) -> Check:
    found, hint = report.measurement.hex(), HINT_RUNTIME
    wanted = expectation.measurement.hex() or "a value that the manifest lacks"
    if expectation.processors is not None:
        wanted += f" for 1 vCPU, or its extension for up to {MAXIMUM_VCPUS}"
        hint = f"measurement does not match any vCPU count from 1 to {MAXIMUM_VCPUS}: {hint}"
    return Check("measurement", _is_trusted(report.measurement, expectation), found, wanted, hint)


def _is_trusted(measurement: bytes, expectation: SnpExpectation) -> bool:
    seed, processors = expectation.measurement, expectation.processors
    if len(seed) != DIGEST_BYTES:  # a missing or short value never means "any"
        return False
    if processors is None:
        return measurement == seed
    return measurement in vcpus_by_digest(seed, processors.start_address, processors.cpu_signature)


def _policy_abi_check(found: int, wanted: int) -> Check:
    abi, minimum = (found >> 8 & 0xFF, found & 0xFF), (wanted >> 8 & 0xFF, wanted & 0xFF)
    lowest = f"at least {minimum[0]}.{minimum[1]}"
    return Check("policy-abi", abi >= minimum, f"{abi[0]}.{abi[1]}", lowest)


def _flag_checks(found: int, wanted: int, flags: Flags) -> Iterator[Check]:
    """Yield the check of each flag: first flags that may be forbidden, then flags that may be demanded."""
    for demanded in (False, True):
        for bit, flag in flags.items():
            if flag.check and flag.demanded == demanded:
                is_set, is_wanted = bool(found >> bit & 1), bool(wanted >> bit & 1)
                passed = is_set or not is_wanted if demanded else is_wanted or not is_set
                yield Check(
                    flag.check, passed, _ON_OFF[is_set], _ON_OFF[is_wanted], _flag_hint(flag)
                )


def _flag_hint(flag: Flag) -> str:
    if flag.check == "debug":
        return HINT_DEBUG
    if not flag.member:
        return ""
    if flag.demanded:
        return f"switch it on in the machine's firmware, or clear PlatformInfo.{flag.member}"
    return f"switch it off in the machine's firmware, or set PlatformInfo.{flag.member}"


def _tcb_checks(report: SnpReport, tcbs: ReportTcbs, minimum: Tcb) -> Iterator[Check]:
    # The reference product compares the minimum with two of these and documents a third; we compare all three.
    for name in ("reported", "committed", "launch"):
        tcb = getattr(tcbs, name)
        yield _at_least(f"{name}-tcb", tcb, minimum, "the manifest's MinimumTCB")
    yield _at_least("committed-tcb-order", tcbs.current, tcbs.committed, "the committed tcb")
    # Two comparisons: a newer version does not make up for an older build.
    committed, current = report.committed_version, report.current_version
    yield Check(
        "committed-version",
        committed[:2] <= current[:2] and committed[2] <= current[2],
        _dotted(committed),
        f"at most the current {_dotted(current)}, version and build alike",
    )


def _id_key_check(report: SnpReport, expectation: SnpExpectation) -> Check:
    # The block pins the launch digest, which differs from the manifest's for several processors.
    pinned = expectation.measurement
    if _is_trusted(report.measurement, expectation):
        pinned = report.measurement
    wanted = id_key_digest(pinned, expectation.guest_policy) if pinned else None
    found = report.id_key_digest
    return Check(
        "id-key-digest",
        found == wanted,
        found.hex() if any(found) else "zero (no id block)",
        "the digest for the missing measurement" if wanted is None else wanted.hex(),
        "the guest must be launched with the id block of its runtime release and guest policy",
    )


def _mitigation_check(reason: str, vector: int, wanted: int) -> Check:
    hint = "update the machine's firmware, or lower MinimumMitigationVector"
    passed = vector & wanted == wanted
    return Check(reason, passed, f"{vector:#x}", f"all bits of {wanted:#x}", hint)


def _at_least(reason: str, tcb: Tcb, minimum: Tcb, name: str) -> Check:
    lower = tcb.lower_than(minimum)
    hint = ""
    if lower:
        parts = ", ".join(
            f"{component} is {getattr(tcb, component)}, wanted {getattr(minimum, component)}"
            for component in lower
        )
        sources = ", ".join(dict.fromkeys(map(_FIRMWARE.__getitem__, lower)))
        hint = f"too old: {parts}; update {sources}, then {_AFTERWARDS.get(reason, 'reboot')}"
    return Check(reason, not lower, str(tcb), f"at least {minimum} ({name})", hint)


def _dotted(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))
