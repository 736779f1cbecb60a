import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.snp.report import (
    REPORT_BYTES,
    parse_report,
    render_signature,
    signature_scalars,
)
from tests.fakes.attestation import FakeAmd, good_report
from tests.fakes.testdata import ATTESTATION

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973


def good_raw() -> bytes:
    return FakeAmd().report().raw


def patched(offset: int, content: bytes, raw: bytes | None = None) -> bytes:
    raw = raw or good_raw()
    return raw[:offset] + content + raw[offset + len(content) :]


def vectors() -> list[Any]:
    if not (ATTESTATION / "vectors.json").exists():
        reason = "attestation test data is not at hand"
        return [pytest.param({}, marks=pytest.mark.skip(reason=reason))]
    every = json.loads((ATTESTATION / "vectors.json").read_text())["vectors"]
    return [
        pytest.param(vector, id=vector["id"])
        for vector in every
        if vector["tee"] == "snp" and "version" in vector.get("fields", {})
    ]


@pytest.mark.parametrize("vector", vectors())
def test_every_field_of_a_real_report_is_read_as_the_index_lists_it(vector: dict[str, Any]) -> None:
    raw = (ATTESTATION / vector["files"][0]).read_bytes()

    report = parse_report(raw)

    fields = vector["fields"]
    assert report.version == fields["version"]
    assert report.guest_svn == fields["guest_svn"]
    assert report.policy == int(fields["policy"], 16)
    assert report.family_id.hex() == fields["family_id"]
    assert report.image_id.hex() == fields["image_id"]
    assert report.vmpl == fields["vmpl"]
    assert report.signature_algo == fields["sig_algo"]
    assert report.current_tcb == int(fields["current_tcb"], 16)
    assert report.platform_info == int(fields["platform_info"], 16)
    assert report.signer_info == fields["signer_info"]
    assert report.report_data.hex() == fields["report_data"]
    assert report.measurement.hex() == fields["measurement"]
    assert report.host_data.hex() == fields["host_data"]
    assert report.id_key_digest.hex() == fields["id_key_digest"]
    assert report.author_key_digest.hex() == fields["author_key_digest"]
    assert report.report_id.hex() == fields["report_id"]
    assert report.report_id_ma.hex() == fields["report_id_ma"]
    assert report.reported_tcb == int(fields["reported_tcb"], 16)
    assert report.chip_id.hex() == fields["chip_id"]
    assert report.committed_tcb == int(fields["committed_tcb"], 16)
    assert list(reversed(report.current_version)) == fields["cur"]
    assert list(reversed(report.committed_version)) == fields["com"]
    assert report.launch_tcb == int(fields["launch_tcb"], 16)
    assert report.launch_mit_vector == fields["launch_mit"]
    assert report.current_mit_vector == fields["current_mit"]
    cpuid = [report.cpuid_family, report.cpuid_model, report.cpuid_stepping]
    assert cpuid == (fields["fms"] or [0, 0, 0])


@pytest.mark.parametrize("vector", vectors())
def test_a_real_report_is_written_back_to_the_same_bytes(vector: dict[str, Any]) -> None:
    raw = (ATTESTATION / vector["files"][0]).read_bytes()

    assert parse_report(raw).raw == raw


@pytest.mark.parametrize("size", [0, 1, REPORT_BYTES - 1, REPORT_BYTES + 1, 2 * REPORT_BYTES])
def test_a_report_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(MalformedEvidence, match=f"has {size} bytes, wanted 1184"):
        parse_report((good_raw() * 2)[:size])


@pytest.mark.parametrize("version", [0, 1, 6, 0xFFFFFFFF])
def test_another_version_is_refused(version: int) -> None:
    with pytest.raises(MalformedEvidence, match=f"version is {version}, wanted 2 to 5"):
        parse_report(patched(0, struct.pack("<I", version)))


@pytest.mark.parametrize("version", [3, 4, 5])
def test_versions_with_processor_ids_are_read(version: int) -> None:
    report = FakeAmd().report(version=version, launch_mit_vector=0, current_mit_vector=0)

    assert parse_report(report.raw) == report


RESERVED = [
    *range(0x4C, 0x50),
    *range(0x18B, 0x1A0),
    0x1EB,
    0x1EF,
    *range(0x208, 0x2A0),
    *range(0x2A0 + 48, 0x2A0 + 72),
    *range(0x2E8 + 48, 0x2E8 + 72),
    *range(0x330, 0x4A0),
]


def test_every_reserved_byte_must_be_zero() -> None:
    raw = good_raw()

    accepted = [offset for offset in RESERVED if _is_read(patched(offset, b"\x01", raw))]

    assert accepted == []


@pytest.mark.parametrize(
    ("offset", "content", "reason"),
    [
        pytest.param(0x30, struct.pack("<I", 4), "vmpl", id="vmpl 4"),
        pytest.param(0x34, struct.pack("<I", 0), "signature-algorithm", id="algorithm 0"),
        pytest.param(0x34, struct.pack("<I", 2), "signature-algorithm", id="algorithm 2"),
        pytest.param(0x08, struct.pack("<Q", 0x10000), "policy-reserved", id="policy without bit 17"),
        pytest.param(0x08, struct.pack("<Q", 0x30000 | 1 << 26), "policy-reserved", id="policy bit 26"),
        pytest.param(0x08, struct.pack("<Q", 0x30000 | 1 << 63), "policy-reserved", id="policy bit 63"),
        pytest.param(0x40, struct.pack("<Q", 1 << 6), "platform-info-reserved", id="platform bit 6"),
        pytest.param(0x40, struct.pack("<Q", 1 << 8), "platform-info-reserved", id="platform bit 8"),
        pytest.param(0x40, struct.pack("<Q", 1 << 63), "platform-info-reserved", id="platform bit 63"),
        pytest.param(0x48, struct.pack("<I", 1 << 5), "signing-key", id="signer info bit 5"),
        pytest.param(0x48, struct.pack("<I", 2 << 2), "signing-key", id="reserved signing key 2"),
        pytest.param(0x48, struct.pack("<I", 6 << 2), "signing-key", id="reserved signing key 6"),
        pytest.param(0x48, struct.pack("<I", 7 << 2), "signing-key", id="unsigned report"),
        pytest.param(0x2A0, bytes(72), "signature-form", id="r zero"),
        pytest.param(0x2E8, bytes(72), "signature-form", id="s zero"),
        pytest.param(0x2A0, ORDER.to_bytes(48, "little"), "signature-form", id="r equals n"),
        pytest.param(0x2E8, b"\xff" * 48, "signature-form", id="s above n"),
    ],
)  # fmt: skip
def test_a_value_that_the_abi_does_not_know_is_refused(
    offset: int, content: bytes, reason: str
) -> None:
    with pytest.raises(MalformedEvidence) as caught:
        parse_report(patched(offset, content))

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("version", "offset"),
    [(2, 0x188), (2, 0x189), (2, 0x18A), (3, 0x1F8), (4, 0x1F8), (3, 0x200), (2, 0x200)],
)
def test_fields_of_later_versions_must_be_zero_in_earlier_ones(version: int, offset: int) -> None:
    plain = good_report()
    early = replace(
        plain,
        version=version,
        launch_mit_vector=0,
        current_mit_vector=0,
        **({"cpuid_family": 0, "cpuid_model": 0, "cpuid_stepping": 0} if version == 2 else {}),
        signature=render_signature(1, 1),
    )
    assert _is_read(early.raw)

    assert not _is_read(patched(offset, b"\x01", early.raw))


def test_a_field_of_another_length_cannot_be_written() -> None:
    with pytest.raises(MalformedEvidence, match="host_data has 31 bytes, wanted 32"):
        _ = replace(good_report(), host_data=bytes(31)).raw


def test_a_number_that_does_not_fit_cannot_be_written() -> None:
    with pytest.raises(MalformedEvidence, match="does not fit"):
        _ = replace(good_report(), current_major=256).raw


def test_the_signature_scalars_are_little_endian() -> None:
    report = replace(good_report(), signature=render_signature(0x0102, 0x0304))

    assert report.raw[0x2A0:0x2A2] == b"\x02\x01"
    assert signature_scalars(report) == (0x0102, 0x0304)


@given(st.binary(min_size=REPORT_BYTES, max_size=REPORT_BYTES))
def test_any_bytes_are_refused_with_our_own_error_or_read_without_loss(raw: bytes) -> None:
    try:
        report = parse_report(raw)
    except MalformedEvidence:
        return
    assert report.raw == raw


def _is_read(raw: bytes) -> bool:
    try:
        parse_report(raw)
    except MalformedEvidence:
        return False
    return True
