"""Kubernetes quantities, as far as resourceFieldRef needs them."""

from decimal import ROUND_CEILING, Decimal, InvalidOperation

_SUFFIXES = {
    "": Decimal(1),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    **{name: Decimal(1000) ** power for power, name in enumerate("kMGTPE", start=1)},
    **{f"{name}i": Decimal(1024) ** power for power, name in enumerate("KMGTPE", start=1)},
}


def quantity(value: object) -> Decimal | None:
    """Return the number that a quantity such as `700Mi` or `100m` stands for, None when it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    text = str(value).strip()
    number = text.rstrip("numkKMGTPEi")
    factor = _SUFFIXES.get(text[len(number) :])
    try:
        parsed = Decimal(number)
    except InvalidOperation:
        return None
    return parsed * factor if factor is not None and parsed.is_finite() else None


def divided(value: Decimal, divisor: Decimal) -> str:
    """Return value / divisor rounded up to a whole number, as the downward API does; divisor is not 0."""
    return str(int((value / divisor).to_integral_value(rounding=ROUND_CEILING)))
