"""Words of flags: a table from the number of a bit to what it is called and what a verdict makes of it."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class Flag(NamedTuple):
    """One bit of a word.

    name: in the vendor's specification. check: the question of a verdict, empty if none is asked.
    demanded: the bit must be set where the reference value has it; otherwise it may be set only where the reference value has it.
    member: of a reference value's PlatformInfo.
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
    """Return every known bit with its value by name, and every other bit that is set as `bit N`."""
    said = {flag.name: bool(word >> bit & 1) for bit, flag in flags.items()}
    unknown = (bit for bit in range(word.bit_length()) if word >> bit & 1 and bit not in flags)
    return said | {f"bit {bit}": True for bit in unknown}
