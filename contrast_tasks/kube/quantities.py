"""Kubernetes quantities: `700Mi`, `0.5`, `500m`, `1e3`.

Source: Kubernetes API conventions, "Quantities": a decimal number with a binary suffix, a decimal suffix or an exponent.
"""

import re
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from contrast_tasks.errors import UsageError

_QUANTITY: Final = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
_BINARY: Final = {
    name: 1024 ** (power + 1) for power, name in enumerate(["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


class QuantityError(UsageError):
    """A text is not a Kubernetes quantity."""


def parse_quantity(value: Any) -> Decimal:
    """Return the exact value of a quantity; YAML may have made a number of it already.

    Raises QuantityError for anything else, naming what was found.
    """
    match = None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise QuantityError(
            f"found {value!r}, expected a quantity",
            hint="write a number with a suffix of Ki Mi Gi Ti Pi Ei or n u m k M G T P E, as 700Mi",
        )
    number = Decimal(match["number"])
    if match["binary"]:
        return number * Decimal(_BINARY[match["binary"]])
    exponent = _DECIMAL[match["decimal"]] if match["decimal"] else int(match["exponent"] or 0)
    return number.scaleb(exponent)


def parse_bytes(value: Any) -> int:
    """Return a memory or storage quantity in bytes, rounded up as Kubernetes does.

    Raises QuantityError if it is no quantity or negative.
    """
    size = parse_quantity(value)
    if size < 0:
        raise QuantityError(f"found {value!r}, expected a size of at least 0")
    return int(size.to_integral_value(rounding=ROUND_CEILING))
