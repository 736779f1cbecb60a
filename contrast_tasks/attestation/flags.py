"""Tables of flags: for each bit of a word its name and how a verdict treats it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Flag(NamedTuple):
    """One bit of a word.

    name: in the vendor's specification. check: the check of a verdict, empty if the bit is not checked.
    demanded: a bit set in the reference value must be set in the evidence. Otherwise a bit set in the evidence must be set in
    the reference value. member: of a reference value's PlatformInfo.
    """

    name: str
    check: str = ""
    demanded: bool = False
    member: str = ""


Flags = Mapping[int, Flag]


def mask_of(bits: Iterable[int]) -> int:
    """Return the word in which exactly these bits are set."""
    return sum(1 << bit for bit in bits)


def named_bits(word: int, flags: Flags) -> dict[str, bool]:
    """Return the value of every known bit by its name, and every other bit that is set as `bit N`."""
    known = {flag.name: bool(word >> bit & 1) for bit, flag in flags.items()}
    unknown = (bit for bit in range(word.bit_length()) if word >> bit & 1 and bit not in flags)
    return known | {f"bit {bit}": True for bit in unknown}
