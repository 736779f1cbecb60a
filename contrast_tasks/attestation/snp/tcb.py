"""The 64-bit TCB version of SEV-SNP: four or five security patch levels, one byte each.

Source: docs/internals/attestation.md 2.2.
"""

from dataclasses import dataclass
from functools import lru_cache

from contrast_tasks.attestation.errors import MalformedEvidence

COMPONENTS = ("bootloader", "tee", "snp", "microcode", "fmc")
# The byte of each component, counted from the least significant; the other bytes are reserved.
_BYTES = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_BYTES_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
_MAX_SVN = 127  # all but microcode, on Milan and Genoa


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcb:
    """Patch levels from 0 to 255, compared per component, never as one integer; only Turin has an fmc."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def __str__(self) -> str:
        text = f"bootloader {self.bootloader}, tee {self.tee}, snp {self.snp}, microcode {self.microcode}"
        return f"{text}, fmc {self.fmc}" if self.fmc else text

    def lower_than(self, minimum: "Tcb") -> tuple[str, ...]:
        """Return the names of the components below `minimum`."""
        if self == minimum:
            return ()
        return tuple(name for name in COMPONENTS if getattr(self, name) < getattr(minimum, name))

    def to_word(self, *, turin: bool = False) -> int:
        """Return the 64-bit form."""
        places = _BYTES_TURIN if turin else _BYTES
        return sum(getattr(self, name) << 8 * place for name, place in places.items())


@lru_cache(maxsize=256)
def parse_tcb(word: int, *, turin: bool, where: str = "tcb") -> Tcb:
    """Split a 64-bit TCB version, a little-endian word of the report, into its patch levels.

    turin: Turin's layout, else that of Milan and Genoa. where: the field's name for the message.
    Raises MalformedEvidence if a reserved byte is set or a level is out of range.
    """
    places = _BYTES_TURIN if turin else _BYTES
    levels = {name: word >> 8 * place & 0xFF for name, place in places.items()}
    tcb = Tcb(**{"fmc": 0, **levels})
    if tcb.to_word(turin=turin) != word:
        raise MalformedEvidence(
            f"{where} {word:#018x} has reserved bytes set for this product", reason="tcb-reserved"
        )
    if not turin and max(tcb.bootloader, tcb.tee, tcb.snp) > _MAX_SVN:
        raise MalformedEvidence(
            f"{where} {word:#018x} has a patch level above {_MAX_SVN}", reason="tcb-reserved"
        )
    return tcb
