import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.proto import sevsnp_pb2 as pb
from contrast_tasks.attestation.snp.document import (
    EXTRA_CRL,
    SnpDocument,
    cpuid_to_fms,
    fms_to_cpuid,
    parse_document,
    render_document,
)
from contrast_tasks.attestation.snp.report import parse_report
from contrast_tasks.evidence_documents import MAX_DOCUMENT_BYTES
from tests.fakes.attestation import FakeAmd
from tests.fakes.testdata import ATTESTATION


def vectors() -> list[Any]:
    if not (ATTESTATION / "vectors.json").exists():
        reason = "attestation test data is not at hand"
        return [pytest.param([], marks=pytest.mark.skip(reason=reason))]
    every = json.loads((ATTESTATION / "vectors.json").read_text())["vectors"]
    return [
        pytest.param(vector["files"], id=vector["id"])
        for vector in every
        if any(name.endswith(".attestation.pb") for name in vector["files"])
    ]


def good_message() -> pb.Attestation:
    message = pb.Attestation()
    message.ParseFromString(FakeAmd().document())
    return message


@pytest.mark.parametrize("files", vectors())
def test_a_real_document_holds_the_report_and_is_written_back_to_the_same_bytes(
    files: list[str],
) -> None:
    raw, certificate, content = ((ATTESTATION / name).read_bytes() for name in files)

    document = parse_document(content)

    assert document.report == parse_report(raw)
    assert certificate in {document.vcek_der, document.vlek_der}
    assert render_document(document) == content


def test_certificates_and_extras_survive_a_round_trip() -> None:
    document = SnpDocument(
        report=FakeAmd().report(),
        vcek_der=b"v",
        vlek_der=b"l",
        ask_der=b"a",
        ark_der=b"r",
        product="Genoa",
        extras={EXTRA_CRL: b"c", "x": b""},
    )

    assert parse_document(render_document(document)) == document


def test_unknown_fields_are_ignored() -> None:
    content = FakeAmd().document()

    unknown = b"\xf2\x3f\x03abc"  # field 1022, length-delimited

    assert parse_document(content + unknown) == parse_document(content)


def test_a_document_above_64_kib_is_refused() -> None:
    content = FakeAmd().document(extras={"x": bytes(MAX_DOCUMENT_BYTES)})

    with pytest.raises(MalformedEvidence, match="wanted at most 65536"):
        parse_document(content)


def test_every_truncation_is_refused() -> None:
    content = FakeAmd().document(extras={}, vcek_der=b"", ask_der=b"", ark_der=b"")

    for size in range(0, len(content), 7):
        with pytest.raises(MalformedEvidence):
            parse_document(content[:size])


@pytest.mark.parametrize("content", [b"", b"\x12\x00", b"{}", b"\xff" * 40, b"\x0a\x00"])
def test_bytes_without_a_report_are_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        parse_document(content)


@pytest.mark.parametrize(
    "name",
    [
        "family_id",
        "image_id",
        "report_data",
        "measurement",
        "host_data",
        "id_key_digest",
        "author_key_digest",
        "report_id",
        "report_id_ma",
        "chip_id",
        "signature",
    ],
)
@pytest.mark.parametrize("change", [b"", b"short", None], ids=["absent", "short", "long"])
def test_a_byte_field_of_another_length_is_refused(name: str, change: bytes | None) -> None:
    message = good_message()
    long = getattr(message.report, name) + b"\0"

    setattr(message.report, name, long if change is None else change)

    with pytest.raises(MalformedEvidence, match=f"report field {name} has"):
        parse_document(message.SerializeToString())


@pytest.mark.parametrize(
    "name",
    [
        "current_build",
        "current_minor",
        "current_major",
        "committed_build",
        "committed_minor",
        "committed_major",
    ],
)
def test_a_firmware_number_above_a_byte_is_refused(name: str) -> None:
    message = good_message()
    setattr(message.report, name, 256)

    with pytest.raises(MalformedEvidence, match="does not fit"):
        parse_document(message.SerializeToString())


def test_a_field_of_another_wire_type_is_refused() -> None:
    # measurement (12) as a varint: protobuf drops it as unknown, and then it is missing.
    report = FakeAmd().document(extras={}, vcek_der=b"", ask_der=b"", ark_der=b"")
    message = pb.Attestation()
    message.ParseFromString(report)
    message.report.ClearField("measurement")
    inner = message.report.SerializeToString() + b"\x60\x01"

    with pytest.raises(MalformedEvidence, match="measurement has 0 bytes"):
        parse_document(b"\x0a" + _varint(len(inner)) + inner)


@pytest.mark.parametrize("fms", [0xF0000000, 0x00001000, 0x00100000, 0x0F1F0F00])
def test_a_processor_that_cannot_be_written_back_is_refused(fms: int) -> None:
    message = good_message()
    message.report.cpuid1eax_fms = fms

    with pytest.raises(MalformedEvidence, match="is not a processor"):
        parse_document(message.SerializeToString())


@pytest.mark.parametrize(
    ("fms", "cpuid"),
    [
        (0x00A00F11, (0x19, 0x01, 1)),
        (0x00AA0F02, (0x19, 0xA0, 2)),
        (0x00B00F21, (0x1A, 0x02, 1)),
        (0x0F000F00, (0xFF, 0x00, 0)),
        (0, (0, 0, 0)),
    ],
)
def test_processor_ids_are_converted_both_ways(fms: int, cpuid: tuple[int, int, int]) -> None:
    assert fms_to_cpuid(fms) == cpuid
    assert cpuid_to_fms(*cpuid) == fms


@given(st.binary(max_size=300))
def test_any_bytes_raise_our_own_error_only(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        parse_document(content)


@given(st.integers(0, 1300), st.integers(0, 255))
def test_a_mutated_document_is_read_or_refused_with_our_own_error(position: int, byte: int) -> None:
    content = bytearray(FakeAmd().document())
    content[position] = byte

    try:
        document = parse_document(bytes(content))
    except MalformedEvidence:
        return
    assert parse_report(document.report.raw) == document.report


def test_a_report_with_a_reserved_bit_in_its_policy_is_refused_in_a_document_too() -> None:
    message = good_message()
    message.report.policy = 1 << 40 | 1 << 17

    with pytest.raises(MalformedEvidence, match="policy-reserved"):
        parse_document(message.SerializeToString())


def test_a_wrong_report_cannot_be_written() -> None:
    report = replace(FakeAmd().report(), measurement=b"")

    with pytest.raises(MalformedEvidence):
        parse_document(render_document(SnpDocument(report=report)))


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
