"""Kubernetes quantities."""

from decimal import Decimal

import pytest

from contrast_tasks.pods.quantities import QuantityError, parse_bytes, parse_quantity, rounded_up


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("700Mi", 700 * 1024**2),
        ("1Ki", 1024),
        ("1Ei", 1024**6),
        ("1k", 1000),
        ("1G", 10**9),
        ("1E", 10**18),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1.5e-1", Decimal("0.15")),
        ("0.5", Decimal("0.5")),
        (".5Gi", 512 * 1024**2),
        ("500m", Decimal("0.5")),
        ("1u", Decimal("0.000001")),
        ("1n", Decimal("0.000000001")),
        ("-1", -1),
        ("+1", 1),
        ("1.", 1),
        ("1" + 5000 * "0", Decimal(10) ** 5000),
        (2, 2),
        (1000.0, 1000),
    ],
)
def test_a_quantity_has_its_exact_value(text: object, value: object) -> None:
    assert parse_quantity(text) == value


@pytest.mark.parametrize(
    "text",
    ["", "Mi", "1mi", "1KI", "1 Mi", " 1", "1Mi ", "1,5", "1e", "1ee3", "0x10", "1Mi1", "\u0661", "nan", "inf", "1Mb", None, True, [], {}],
)  # fmt: skip
def test_anything_else_is_refused(text: object) -> None:
    with pytest.raises(QuantityError, match="expected a quantity"):
        parse_quantity(text)


def test_equal_sizes_compare_equal_in_any_spelling() -> None:
    assert parse_quantity("1024Mi") == parse_quantity("1Gi") == parse_quantity("1073741824")


def test_bytes_are_rounded_up() -> None:
    assert parse_bytes("1500m") == 2


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(QuantityError, match="at least 0"):
        parse_bytes("-1Mi")


@pytest.mark.parametrize(
    ("value", "divisor", "whole"),
    [("700Mi", "1Mi", 700), ("1500m", "1", 2), ("100m", "1m", 100), ("1Gi", "1M", 1074)],
)
def test_a_quotient_is_rounded_up(value: str, divisor: str, whole: int) -> None:
    assert rounded_up(parse_quantity(value) / parse_quantity(divisor)) == whole
