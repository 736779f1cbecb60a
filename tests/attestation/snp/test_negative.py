"""Rows 19 to 33, 36, 37, 47, 48, 50 of the list of evidence that a verifier must reject: reports and what they claim.

Every report here is signed by the chip's own key unless the row is about signatures, so that nothing but the named field is
wrong. Each case says in `wanted` what the message must tell: the field, what was found and what is wanted.
tests/attestation/ROWS.md has all rows; those about chains are in test_chain_negative.py.
"""

from dataclasses import replace
from typing import Any

import pytest

from contrast_tasks.attestation.errors import (
    ClaimsRejected,
    HardwareRejected,
    MalformedEvidence,
    SignatureRejected,
)
from contrast_tasks.attestation.proto import sevsnp_pb2 as pb
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document
from contrast_tasks.attestation.snp.id_block import id_key_digest
from contrast_tasks.attestation.snp.report import SIGNED_BYTES, parse_report, render_signature
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import verify_genuine
from tests.fakes.attestation import (
    CHIP_ID,
    MEASUREMENT,
    MINIMUM,
    NOW,
    POLICY,
    REPORT_DATA,
    TCB,
    FakeAmd,
)

AMD = FakeAmd()
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
DEBUG, MIGRATE_MA, CXL, SMT = 1 << 19, 1 << 18, 1 << 21, 1 << 16
COMPONENTS = ("bootloader", "tee", "snp", "microcode")


def refused(document: bytes, error: type[HardwareRejected], **expectation: Any) -> HardwareRejected:
    """Return what a validator raises for a document; it must be exactly this kind of error, with exit code 41."""
    with pytest.raises(HardwareRejected) as caught:
        AMD.validator(**expectation).verify(document, REPORT_DATA, NOW)
    assert type(caught.value) is error
    assert caught.value.exit_code == 41
    return caught.value


def claim_refused(reason: str, *texts: str, report: Any = None, **expectation: Any) -> None:
    """Let a report and an expectation differ: `reason` must be the first failing check and the message has the texts."""
    document = AMD.document(AMD.report(**(report or {})))
    error = refused(document, ClaimsRejected, **expectation)
    assert error.reason == reason
    for text in (f"{reason} is ", *texts):
        assert text in str(error)


def level(tcb: Tcb, name: str, step: int) -> Tcb:
    return replace(tcb, **{name: getattr(tcb, name) + step})


FIELDS = [
    "guest_svn", "policy", "family_id", "image_id", "vmpl", "current_tcb", "platform_info", "signer_info", "report_data",
    "measurement", "host_data", "id_key_digest", "author_key_digest", "report_id", "report_id_ma", "reported_tcb",
    "chip_id", "committed_tcb", "launch_tcb", "launch_mit_vector", "current_mit_vector", "cpuid_stepping",
]  # fmt: skip


@pytest.mark.parametrize("last", [False, True], ids=["lowest bit", "highest bit"])
@pytest.mark.parametrize("field", FIELDS)
def test_19_a_bit_flipped_in_a_signed_field_is_refused(field: str, last: bool) -> None:
    document = parse_document(AMD.document())
    value = getattr(document.report, field)
    if isinstance(value, bytes):
        flipped: Any = bytes([value[0] ^ 1]) + value[1:]
        if last:
            flipped = value[:-1] + bytes([value[-1] ^ 0x80])
    else:
        flipped = value ^ (1 << 2 if last else 1)
    report = replace(document.report, **{field: flipped})

    error = _refusal_of(report.raw, document)

    assert error.reason in {"signature", "vmpl", "signing-key", "vlek-not-allowed"}


@pytest.mark.sweep
def test_19_every_bit_of_the_words_at_both_ends_of_the_report_counts() -> None:
    document = parse_document(AMD.document())
    raw = document.report.raw
    bits = [*range(0x40 * 8), *range(0x188 * 8, 0x1A0 * 8), *range(0x1E0 * 8, 0x208 * 8)]

    for bit in bits:
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert _refusal_of(bytes(changed), document).reason


def test_19_every_bit_is_refused_or_among_those_that_the_signature_is_checked_over() -> None:
    raw = AMD.report().raw
    refused = 0

    for bit in range(SIGNED_BYTES * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        try:
            assert parse_report(bytes(changed)).raw == changed
        except MalformedEvidence:
            refused += 1

    assert 0 < refused < SIGNED_BYTES * 8


def _refusal_of(raw: bytes, document: SnpDocument) -> HardwareRejected:
    with pytest.raises(HardwareRejected) as caught:
        verify_genuine(replace(document, report=parse_report(raw)), AMD.validator().trust, NOW)
    return caught.value


R, S = 0, 72


def signature_with(offset: int, content: bytes) -> bytes:
    good = AMD.report().signature
    return good[:offset] + content + good[offset + len(content) :]


@pytest.mark.parametrize(
    ("offset", "content", "message"),
    [
        pytest.param(R, bytes(48), "signature's r is out of range", id="r zero"),
        pytest.param(S, bytes(48), "signature's s is out of range", id="s zero"),
        pytest.param(R, ORDER.to_bytes(48, "little"), "signature's r is out of range", id="r = n"),
        pytest.param(S, ORDER.to_bytes(48, "little"), "signature's s is out of range", id="s = n"),
        pytest.param(R, b"\xff" * 48, "signature's r is out of range", id="r above n"),
        pytest.param(S, b"\xff" * 48, "signature's s is out of range", id="s above n"),
        pytest.param(R + 48, b"\xff" * 24, "signature's r is out of range", id="r negative"),
        pytest.param(S + 48, b"\xff" * 24, "signature's s is out of range", id="s negative"),
        pytest.param(
            R + 48, b"\x01", "signature's r is out of range", id="first padding byte of r"
        ),
        pytest.param(S + 71, b"\x01", "signature's s is out of range", id="last padding byte of s"),
    ],
)
def test_20_a_signature_out_of_range_is_refused(offset: int, content: bytes, message: str) -> None:
    report = replace(AMD.report(), signature=signature_with(offset, content))

    error = refused(AMD.document(report), MalformedEvidence)

    assert error.reason == "signature-form"
    assert message in str(error)


@pytest.mark.parametrize(("r", "s"), [(1, 1), (2, 1), (ORDER - 1, ORDER - 1)])
def test_20_a_signature_in_range_that_nobody_made_is_refused(r: int, s: int) -> None:
    report = replace(AMD.report(), signature=render_signature(r, s))

    error = refused(AMD.document(report), SignatureRejected)

    assert "not signed by the endorsement key" in str(error)


FORMS: list[Any] = [
    pytest.param({"signature_algo": 0}, "signature-algorithm", "is 0, wanted 1", id="21 algorithm 0"),
    pytest.param({"signature_algo": 2}, "signature-algorithm", "is 2, wanted 1", id="21 algorithm 2"),
    pytest.param({"signer_info": 7 << 2}, "signing-key", "is 0x1c, wanted a report signed", id="21 unsigned"),
    *(
        pytest.param({"signer_info": key << 2}, "signing-key", f"is {key << 2:#x}, wanted", id=f"21 reserved key {key}")
        for key in range(2, 7)
    ),
    pytest.param({"signer_info": 1 << 5}, "signing-key", "is 0x20, wanted", id="21 reserved bit 5"),
    *(
        pytest.param({"version": version}, "version", f"is {version}, wanted 2 to 5", id=f"22 version {version}")
        for version in (0, 1, 6, 0xFFFFFFFF)
    ),
    pytest.param({"policy": 0x10000}, "policy-reserved", "is 0x10000, wanted bit 17 set", id="23 bit 17 clear"),
    *(
        pytest.param({"policy": POLICY | 1 << bit}, "policy-reserved", "bits 26 to 63 clear", id=f"23 bit {bit}")
        for bit in (26, 32, 63)
    ),
    *(
        pytest.param({"platform_info": 1 | 1 << bit}, "platform-info-reserved", f"is {1 | 1 << bit:#x}, wanted no bits but 0 to 5", id=f"24 bit {bit}")
        for bit in (6, 8, 9, 31, 63)
    ),
]  # fmt: skip


@pytest.mark.parametrize(("report", "reason", "message"), FORMS)
def test_21_22_23_24_a_report_that_the_abi_does_not_know_is_refused(
    report: dict[str, Any], reason: str, message: str
) -> None:
    error = refused(AMD.document(AMD.report(**report)), MalformedEvidence)

    assert error.reason == reason
    assert f"report field {reason} " in str(error)
    assert message in str(error)


@pytest.mark.parametrize(
    ("bit", "reason"), [(DEBUG, "debug"), (MIGRATE_MA, "policy-migrate-ma"), (CXL, "policy-cxl")]
)
def test_25_a_debug_guest_or_one_with_a_forbidden_capability_is_refused(
    bit: int, reason: str
) -> None:
    report = {"policy": POLICY | bit, "id_key_digest": id_key_digest(MEASUREMENT, POLICY | bit)}

    claim_refused(reason, f"{reason} is on, but off is wanted", report=report)


def test_26_smt_is_refused_where_the_reference_forbids_it() -> None:
    claim_refused("policy-smt", "policy-smt is on, but off is wanted", guest_policy=POLICY & ~SMT)
    claim_refused("smt-enabled", "smt-enabled is on, but off is wanted", platform_info=0)


@pytest.mark.parametrize("abi", [0x1, 0x1F, 0x100, 0x11F])
def test_27_an_abi_below_the_references_is_refused(abi: int) -> None:
    wanted = f"at least {abi >> 8}.{abi & 0xFF}"

    claim_refused("policy-abi", f"is 0.0, but {wanted} is wanted", guest_policy=POLICY | abi)


@pytest.mark.parametrize("vmpl", [1, 2, 3, 0xFFFFFFFF])
def test_28_a_report_of_another_privilege_level_is_refused(vmpl: int) -> None:
    claim_refused("vmpl", f"vmpl is {vmpl}, but 0 is wanted", report={"vmpl": vmpl})


@pytest.mark.parametrize("bit", [0, 7, 383], ids=["first", "eighth", "last"])
def test_29_a_measurement_that_differs_in_one_bit_is_refused(bit: int) -> None:
    other = bytearray(MEASUREMENT)
    other[bit // 8] ^= 1 << bit % 8
    report = {"measurement": bytes(other), "id_key_digest": id_key_digest(bytes(other), POLICY)}

    claim_refused("measurement", other.hex(), f"but {MEASUREMENT.hex()} is wanted", report=report)


@pytest.mark.parametrize("size", [0, 1, 47])
def test_29_a_short_reference_measurement_never_means_any(size: int) -> None:
    claim_refused("measurement", MEASUREMENT.hex(), measurement=MEASUREMENT[:size])


@pytest.mark.parametrize(
    "other", [bytes(64), b"\xc2" + REPORT_DATA[1:], REPORT_DATA[:-1] + b"\x43", b"\xff" * 64]
)
def test_30_other_report_data_is_refused(other: bytes) -> None:
    claim_refused(
        "report-data", other.hex(), f"but {REPORT_DATA.hex()}", report={"report_data": other}
    )


@pytest.mark.parametrize(
    ("report", "reason", "found"),
    [
        pytest.param({"id_key_digest": bytes(48)}, "id-key-digest", "zero (no id block)", id="zero"),
        pytest.param({"id_key_digest": id_key_digest(MEASUREMENT, 0x3001F)}, "id-key-digest", id_key_digest(MEASUREMENT, 0x3001F).hex(), id="other policy word"),
        pytest.param({"id_key_digest": id_key_digest(bytes(48), POLICY)}, "id-key-digest", id_key_digest(bytes(48), POLICY).hex(), id="other measurement"),
        pytest.param({"id_key_digest": id_key_digest(MEASUREMENT, POLICY)[:-1] + b"\0"}, "id-key-digest", "but", id="last byte"),
        pytest.param({"signer_info": 1}, "author-key", "author-key is in use, but not in use", id="author key"),
        pytest.param({"signer_info": 1, "author_key_digest": b"\x01" * 48}, "author-key", "author-key is in use", id="author key and digest"),
    ],
)  # fmt: skip
def test_31_another_id_key_is_refused(report: dict[str, Any], reason: str, found: str) -> None:
    claim_refused(reason, found, report=report)


@pytest.mark.parametrize("name", COMPONENTS)
def test_32_a_reported_level_below_the_minimum_is_refused(name: str) -> None:
    minimum = level(TCB, name, 1)

    claim_refused("reported-tcb", str(TCB), f"at least {minimum}", minimum_tcb=minimum)


@pytest.mark.parametrize("field", ["launch", "committed"])
@pytest.mark.parametrize("name", COMPONENTS)
def test_32_a_launch_or_committed_level_below_the_minimum_is_refused(name: str, field: str) -> None:
    low = level(TCB, name, -1)

    claim_refused(
        f"{field}-tcb",
        f"{field}-tcb is {low}, but at least {TCB}",
        report={f"{field}_tcb": low.to_word()},
        minimum_tcb=TCB,
    )


@pytest.mark.parametrize("name", COMPONENTS)
def test_33_a_committed_level_above_the_current_one_is_refused(name: str) -> None:
    committed = level(TCB, name, 1)
    for other in COMPONENTS:
        lower = committed if other == name else level(committed, other, -1)
        report = {"committed_tcb": lower.to_word()}

        claim_refused("committed-tcb-order", f"at least {lower}", report=report)


COMMITTED = ("committed_major", "committed_minor", "committed_build")


@pytest.mark.parametrize("version", [(1, 55, 30), (1, 56, 1), (2, 0, 0), (1, 54, 30)])
def test_33_a_committed_firmware_above_the_current_one_is_refused(
    version: tuple[int, int, int],
) -> None:
    claim_refused(
        "committed-version",
        f"is {'.'.join(map(str, version))}, but at most the current 1.55.29",
        report=dict(zip(COMMITTED, version, strict=True)),
    )


def test_36_a_masked_chip_is_refused_where_chips_are_listed() -> None:
    claim_refused(
        "allowed-chip-ids",
        "00" * 64,
        "one of the 1 allowed chip ids",
        report={"chip_id": bytes(64)},
        chip_ids=frozenset({CHIP_ID}),
    )


@pytest.mark.parametrize(
    "listed",
    [
        {CHIP_ID[:-1] + b"\x41"},
        {b"\x00" + CHIP_ID[1:]},
        {CHIP_ID[::-1]},
        {bytes(64), b"\xff" * 64},
        {CHIP_ID[:8]},
    ],
)
def test_37_a_chip_that_is_not_listed_is_refused(listed: set[bytes]) -> None:
    claim_refused(
        "allowed-chip-ids",
        CHIP_ID.hex(),
        f"one of the {len(listed)} allowed chip ids",
        chip_ids=frozenset(listed),
    )


@pytest.mark.parametrize(
    ("report", "reason", "found"),
    [
        pytest.param({"launch_mit_vector": 0b0011}, "launch-mitigations", "0x3", id="at launch"),
        pytest.param({"current_mit_vector": 0b0011}, "current-mitigations", "0x3", id="now"),
        pytest.param(
            {"launch_mit_vector": 0xFFFFFFFFFFFFFFF7}, "launch-mitigations", "0xf", id="only this"
        ),
        pytest.param(
            {"version": 3, "launch_mit_vector": 0, "current_mit_vector": 0},
            "launch-mitigations",
            "0x0",
            id="a version without vectors",
        ),
    ],
)
def test_47_a_missing_mitigation_is_refused(
    report: dict[str, Any], reason: str, found: str
) -> None:
    claim_refused(reason, f"is {found}", "all bits of 0xa", report=report, mitigation_vector=0b1010)


@pytest.mark.parametrize(
    ("field", "name", "texts"),
    [
        ("reported", "microcode", ("microcode is 218, wanted 219", "update the processor's microcode", "then reboot")),
        ("reported", "bootloader", ("bootloader is 3, wanted 4", "update the machine's BIOS", "then reboot")),
        ("committed", "snp", ("snp is 23, wanted 24", "update the SEV firmware", "commit the firmware with 'snphost commit'")),
        ("launch", "tee", ("tee is 0, wanted 1", "update the machine's BIOS", "start the guest again")),
    ],
)  # fmt: skip
def test_32_the_hint_names_component_and_firmware(
    field: str, name: str, texts: tuple[str, ...]
) -> None:
    low = level(TCB, name, -1)
    vendor = FakeAmd(tcb=low) if field == "reported" else AMD
    document = vendor.document(vendor.report(**{f"{field}_tcb": low.to_word()}))

    with pytest.raises(ClaimsRejected) as caught:
        vendor.validator(minimum_tcb=TCB).verify(document, REPORT_DATA, NOW)

    for text in texts:
        assert text in caught.value.hint


@pytest.mark.parametrize("field", ["launch", "committed"])
@pytest.mark.parametrize("name", ["bootloader", "tee", "snp"])
def test_48_levels_are_not_compared_as_one_number(name: str, field: str) -> None:
    minimum = Tcb(bootloader=3, tee=1, snp=8, microcode=115)
    low = replace(minimum, microcode=219, **{name: getattr(minimum, name) - 1})
    assert low.to_word() > minimum.to_word()

    claim_refused(
        f"{field}-tcb",
        f"is {low}, but at least {minimum}",
        report={f"{field}_tcb": low.to_word()},
        minimum_tcb=minimum,
    )


def test_48_the_endorsed_level_is_not_compared_as_one_number_either() -> None:
    low = Tcb(bootloader=2, tee=1, snp=24, microcode=219)
    vendor = FakeAmd(tcb=low)
    document = vendor.document(vendor.report(reported_tcb=low.to_word()))
    assert low.to_word() > MINIMUM.to_word()

    with pytest.raises(ClaimsRejected) as caught:
        vendor.validator().verify(document, REPORT_DATA, NOW)

    assert caught.value.reason == "reported-tcb"
    assert "bootloader is 2, wanted 3" in caught.value.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda one: one[:-1], "signature has 511 bytes, wanted 512", id="shorter"),
        pytest.param(lambda one: one + b"\0", "signature has 513 bytes, wanted 512", id="longer"),
        pytest.param(lambda one: one[:144] + b"\1" + one[145:], "set at 0x330", id="first byte"),
        pytest.param(lambda one: one[:-1] + b"\1", "set at 0x330", id="last byte"),
    ],
)
def test_50_a_signature_area_that_is_not_as_it_must_be_is_refused(
    change: Any, message: str
) -> None:
    content = pb.Attestation()
    content.ParseFromString(AMD.document())
    content.report.signature = change(content.report.signature)

    error = refused(content.SerializeToString(), MalformedEvidence)

    assert error.reason in {"report-length", "report-reserved"}
    assert message in str(error)
