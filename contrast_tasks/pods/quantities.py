"""Kubernetes quantities: `700Mi`, `0.5`, `500m`, `1e3`.

Source: Kubernetes API conventions, "Quantities": a decimal number with a binary suffix, a decimal suffix or an exponent.
Every run reads the settings, which take their pattern from here, so nothing is compiled or imported before use.
"""

import re
from math import ceil
from typing import TYPE_CHECKING, Any, Final

from contrast_tasks.errors import UsageError

if TYPE_CHECKING:
    from decimal import Decimal

_NUMBER: Final = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_QUANTITY: Final = (
    rf"(?P<number>[+-]?{_NUMBER})"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
# A non-zero amount of memory; to Kubernetes, zero means no limit.
MEMORY_PATTERN: Final = rf"(?=[0-9.]*[1-9]){_NUMBER}(?:[KMGTPE]i|[kMGTPE]|[eE][0-9]+)?"
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
# More than any amount has; Python reads no integer of thousands of digits.
_DIGITS: Final = 40
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


class QuantityError(UsageError):
    """A value is not a Kubernetes quantity."""


def parse_quantity(value: Any) -> "int | Decimal":
    """Return the exact value of a quantity, which YAML may have read as a number; an integer if it is written as one.

    Raises QuantityError for anything else.
    """
    match = None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        match = re.fullmatch(_QUANTITY, str(value))
    if match is None:
        raise QuantityError(
            f"found {value!r}, expected a quantity",
            hint=f"write a number with a suffix of Ki Mi Gi Ti Pi Ei or n u m k M G T P E, such as {likely_bytes(value)}",
        )
    binary = 1 << 10 * (_BINARY.index(match["binary"]) + 1) if match["binary"] else 1
    exponent = _DECIMAL[match["decimal"]] if match["decimal"] else int(match["exponent"] or 0)
    if exponent >= 0 and "." not in match["number"] and len(match["number"]) <= _DIGITS:
        return int(match["number"]) * binary * int(10**exponent)
    from decimal import Decimal

    return (Decimal(match["number"]) * binary).scaleb(exponent)


def likely_bytes(value: Any) -> str:
    """Return the amount of memory that was meant by a text such as `512MB`, as in other programs; 700Mi if none is seen."""
    match = re.fullmatch(
        r"\s*([1-9][0-9]{0,14})\s*([kmgt])(?:i?b|i)?\s*", str(value), re.IGNORECASE
    )
    return f"{match[1]}{match[2].upper()}i" if match else "700Mi"


def parse_bytes(value: Any) -> int:
    """Return a memory or storage quantity in bytes, rounded up as Kubernetes does.

    Raises QuantityError if it is negative or not a quantity.
    """
    size = parse_quantity(value)
    if size < 0:
        raise QuantityError(f"found {value!r}, expected a size of at least 0")
    return rounded_up(size)


def rounded_up(value: "int | Decimal") -> int:
    """Return the value rounded up to a whole number, as Kubernetes does."""
    return ceil(value)
