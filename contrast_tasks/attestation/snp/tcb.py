"""The 64-bit TCB version of SEV-SNP: four or five security patch levels, one byte each.

Source: docs/internals/attestation.md 2.2.
"""

from dataclasses import dataclass

from contrast_tasks.attestation.errors import MalformedEvidence

_COMPONENTS = ("bootloader", "tee", "snp", "microcode", "fmc")
_MAX_SVN = 127  # all but microcode, on Milan and Genoa


@dataclass(frozen=True, slots=True, kw_only=True)
class Tcb:
    """Patch levels, 0..255 each; compared per component, never as one integer. fmc exists on Turin only."""

    bootloader: int
    tee: int
    snp: int
    microcode: int
    fmc: int = 0

    def __str__(self) -> str:
        text = f"bootloader {self.bootloader}, tee {self.tee}, snp {self.snp}, microcode {self.microcode}"
        return f"{text}, fmc {self.fmc}" if self.fmc else text

    def lower_than(self, minimum: "Tcb") -> tuple[str, ...]:
        """Return the names of the components that are below `minimum`; empty means at least as new everywhere."""
        if self == minimum:
            return ()
        return tuple(name for name in _COMPONENTS if getattr(self, name) < getattr(minimum, name))

    def to_word(self, *, turin: bool = False) -> int:
        """Return the 64-bit form."""
        if turin:
            levels = (self.fmc, self.bootloader, self.tee, self.snp, 0, 0, 0, self.microcode)
        else:
            levels = (self.bootloader, self.tee, 0, 0, 0, 0, self.snp, self.microcode)
        return int.from_bytes(bytes(levels), "little")


def parse_tcb(word: int, *, turin: bool, where: str = "tcb") -> Tcb:
    """Split a 64-bit TCB version into its patch levels.

    word: little-endian u64 as read from the report. Milan and Genoa: byte 0 boot loader, 1 TEE, 6 SNP, 7 microcode;
        Turin: byte 0 FMC, 1 boot loader, 2 TEE, 3 SNP, 7 microcode. The others are reserved and must be zero.
    where: the field's name for the message. Raises MalformedEvidence.
    """
    raw = word.to_bytes(8, "little")
    reserved = raw[4:7] if turin else raw[2:6]
    if any(reserved):
        raise MalformedEvidence(
            f"{where} {word:#018x} has reserved bytes set for this product", reason="tcb-reserved"
        )
    if turin:
        return Tcb(fmc=raw[0], bootloader=raw[1], tee=raw[2], snp=raw[3], microcode=raw[7])
    if max(raw[:7]) > _MAX_SVN:
        raise MalformedEvidence(
            f"{where} {word:#018x} has a patch level above {_MAX_SVN}", reason="tcb-reserved"
        )
    return Tcb(bootloader=raw[0], tee=raw[1], snp=raw[6], microcode=raw[7])
