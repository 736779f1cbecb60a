from dataclasses import dataclass
from types import SimpleNamespace
from typing import Annotated

import pytest

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.layout import At, Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    kind: Annotated[int, At(0, "H")]
    name: Annotated[bytes, At(4, "4s")]
    pair: Annotated[tuple[bytes, bytes], At(8, "2s2s")]
    newer: Annotated[bytes, At(16, "4s")] = b""


SHORT = Layout(Shape, 16, what="shape", reason="shape")
LONG = Layout(Shape, 20, what="shape")
RAW = b"\x01\x02" + bytes(2) + b"name" + b"aabb" + bytes(4)
PARSED = Shape(kind=0x0201, name=b"name", pair=(b"aa", b"bb"))


def test_fields_are_read_where_they_stand_and_written_back() -> None:
    assert SHORT.parse(RAW) == PARSED
    assert SHORT.render(PARSED) == RAW
    assert LONG.parse(RAW + b"more").newer == b"more"


@pytest.mark.parametrize(("offset", "start"), [(2, "0x2"), (3, "0x2"), (12, "0xc"), (15, "0xc")])
def test_a_byte_that_no_field_covers_must_be_zero(offset: int, start: str) -> None:
    raw = RAW[:offset] + b"\x01" + RAW[offset + 1 :]

    with pytest.raises(MalformedEvidence, match=f"shape has reserved bytes set at {start}") as err:
        SHORT.parse(raw)
    assert err.value.reason == "shape-reserved"


def test_another_length_is_refused() -> None:
    with pytest.raises(MalformedEvidence, match="shape has 15 bytes, wanted 16") as err:
        SHORT.parse(RAW[:-1])
    assert err.value.reason == "shape-length"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": b"nam"}, "thing field name has 3 bytes, wanted 4"),
        ({"pair": (b"aa", b"b")}, "thing field pair has 1 bytes, wanted 2"),
        ({"pair": (b"aa",)}, "thing has 3 values, wanted 4"),
        ({"kind": 0x10000}, "thing has a number that does not fit its width"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(
    change: dict[str, object], message: str
) -> None:
    fields = {"kind": 1, "name": b"name", "pair": (b"aa", b"bb"), **change}

    with pytest.raises(MalformedEvidence, match=message):
        SHORT.render(SimpleNamespace(**fields), what="thing")


def test_a_value_can_take_an_attributes_place() -> None:
    source = SimpleNamespace(name=b"name", pair=b"")

    with pytest.raises(AttributeError):
        SHORT.render(source)
    header = Layout(Flat, 6, what="flat")
    assert header.render(source, {"kind": 7}) == b"\x07\0name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flat:
    kind: Annotated[int, At(0, "H")]
    name: Annotated[bytes, At(2, "4s")]
