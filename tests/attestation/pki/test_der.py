from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.pki import der


def element(tag: int, content: bytes) -> der.Element:
    return der.Element(tag, content, der.encode(tag, content))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x30", id="tag alone"),
        pytest.param(b"\x30\x01", id="content missing"),
        pytest.param(b"\x30\x80\x00\x00", id="indefinite length"),
        pytest.param(b"\x30\x81\x01\x00", id="length not in its shortest form"),
        pytest.param(b"\x30\x82\x00\x80" + bytes(128), id="length with a leading zero"),
        pytest.param(b"\x30\x84\x01\x00\x00\x00", id="length of four bytes"),
        pytest.param(b"\x30\x82\x01", id="length cut off"),
        pytest.param(b"\x3f\x01\x00", id="multi-byte tag"),
        pytest.param(b"\x30\x00\x00", id="trailing byte"),
        pytest.param(b"\x31\x00", id="another tag"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_what_is_not_exactly_one_sequence_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.only(content, der.SEQUENCE)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\xff\x01", b"\x00\x7f", b"\x00\x00"])
def test_an_integer_that_is_negative_or_padded_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.unsigned(element(der.INTEGER, content))


@pytest.mark.parametrize(("content", "value"), [(b"\0", 0), (b"\x7f", 127), (b"\x00\xd9", 217)])
def test_an_unsigned_integer_is_read(content: bytes, value: int) -> None:
    assert der.unsigned(element(der.INTEGER, content)) == value


def test_a_boolean_is_00_or_ff() -> None:
    assert der.boolean(element(der.BOOLEAN, b"\xff"))
    assert not der.boolean(element(der.BOOLEAN, b"\0"))
    with pytest.raises(MalformedEvidence):
        der.boolean(element(der.BOOLEAN, b"\x01"))


@pytest.mark.parametrize(
    ("content", "dotted"),
    [
        (bytes.fromhex("2b060104019c780308"), "1.3.6.1.4.1.3704.3.8"),
        (bytes.fromhex("551d13"), "2.5.29.19"),
        (bytes.fromhex("883703"), "2.999.3"),
    ],
)
def test_an_object_identifier_is_read(content: bytes, dotted: str) -> None:
    assert der.oid(element(der.OID, content)) == dotted


@pytest.mark.parametrize("content", [b"", b"\x2b\x80", b"\x2b\x80\x01"])
def test_an_object_identifier_that_ends_early_or_is_padded_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.oid(element(der.OID, content))


@pytest.mark.parametrize(
    ("tag", "content", "instant"),
    [
        (der.UTC_TIME, b"241106211400Z", datetime(2024, 11, 6, 21, 14, tzinfo=UTC)),
        (der.UTC_TIME, b"490101000000Z", datetime(2049, 1, 1, tzinfo=UTC)),
        (der.UTC_TIME, b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
        (der.UTC_TIME, b"991231235959Z", datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (der.GENERALIZED_TIME, b"20510101000000Z", datetime(2051, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_time_is_read(tag: int, content: bytes, instant: datetime) -> None:
    assert der.instant(element(tag, content)) == instant


@pytest.mark.parametrize(
    ("tag", "content"),
    [
        (der.UTC_TIME, b"2411062114Z"),
        (der.UTC_TIME, b"241106211400+0100"),
        (der.UTC_TIME, b"241306211400Z"),
        (der.UTC_TIME, b"24110621140 Z"),
        (der.GENERALIZED_TIME, b"20241106211400.5Z"),
        (der.INTEGER, b"241106211400Z"),
        (der.UTC_TIME, b""),
    ],
)
def test_a_time_in_another_form_is_refused(tag: int, content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.instant(element(tag, content))


@pytest.mark.parametrize(
    ("tag", "content"),
    [(der.UTF8_STRING, b"\xff"), (der.IA5_STRING, b"\x80"), (der.OCTET_STRING, b"a")],
)
def test_a_string_in_another_encoding_is_refused(tag: int, content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.text(element(tag, content))


@pytest.mark.parametrize("content", [b"", b"\x01\x80"])
def test_a_bit_string_with_unused_bits_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedEvidence):
        der.bits(element(der.BIT_STRING, content))


@given(st.sampled_from([der.SEQUENCE, der.OCTET_STRING]), st.binary(max_size=70_000))
def test_what_is_encoded_is_read_back(tag: int, content: bytes) -> None:
    assert der.only(der.encode(tag, content), tag).content == content


READERS: list[Callable[[der.Element], object]] = [
    der.unsigned,
    der.boolean,
    der.oid,
    der.text,
    der.instant,
    der.bits,
]


@given(st.sampled_from(READERS), st.binary(max_size=40))
def test_any_bytes_raise_our_own_error_only(
    reader: Callable[[der.Element], object], content: bytes
) -> None:
    try:
        for one in der.elements(content):
            reader(one)
    except MalformedEvidence:
        return


def test_an_object_identifier_of_any_length_stays_a_small_number() -> None:
    longest = b"\x2b" + b"\x81" * 62 + b"\x01"
    assert der.oid(element(der.OID, longest)).startswith("1.3.")

    with pytest.raises(MalformedEvidence, match="of 3002 bytes, wanted at most 64"):
        der.oid(element(der.OID, b"\x2b" + b"\x81" * 3000 + b"\x01"))


@pytest.mark.parametrize(
    ("length", "head"),
    [(0, "0400"), (127, "047f"), (128, "048180"), (255, "0481ff"), (256, "04820100")],
)
def test_a_length_is_encoded_in_its_shortest_form(length: int, head: str) -> None:
    assert der.encode(der.OCTET_STRING, bytes(length)) == bytes.fromhex(head) + bytes(length)
