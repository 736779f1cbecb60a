import pytest

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb


def test_milan_and_genoa_have_four_components() -> None:
    tcb = parse_tcb(0xDB18000000000104, turin=False)

    assert tcb == Tcb(bootloader=4, tee=1, snp=24, microcode=219)
    assert tcb.to_word() == 0xDB18000000000104


def test_turin_has_another_layout_and_a_fifth_component() -> None:
    tcb = parse_tcb(0x4800000004030201, turin=True)

    assert tcb == Tcb(fmc=1, bootloader=2, tee=3, snp=4, microcode=0x48)
    assert tcb.to_word(turin=True) == 0x4800000004030201


@pytest.mark.parametrize("byte", [2, 3, 4, 5])
def test_a_reserved_byte_is_rejected_on_milan_and_genoa(byte: int) -> None:
    with pytest.raises(MalformedEvidence, match=r"REPORTED_TCB .* reserved"):
        parse_tcb(1 << 8 * byte, turin=False, where="REPORTED_TCB")


@pytest.mark.parametrize("byte", [4, 5, 6])
def test_a_reserved_byte_is_rejected_on_turin(byte: int) -> None:
    with pytest.raises(MalformedEvidence, match="reserved"):
        parse_tcb(1 << 8 * byte, turin=True)


@pytest.mark.parametrize("byte", [0, 1, 6])
def test_a_level_above_127_is_rejected_unless_it_is_microcode(byte: int) -> None:
    with pytest.raises(MalformedEvidence, match="above 127"):
        parse_tcb(128 << 8 * byte, turin=False)

    assert parse_tcb(255 << 56, turin=False).microcode == 255


def test_comparison_is_per_component_and_not_of_one_integer() -> None:
    minimum = Tcb(bootloader=3, tee=0, snp=8, microcode=115)
    newer_microcode = Tcb(bootloader=2, tee=0, snp=8, microcode=200)

    assert newer_microcode.to_word() > minimum.to_word()
    assert newer_microcode.lower_than(minimum) == ("bootloader",)


def test_equal_levels_are_not_lower() -> None:
    tcb = Tcb(bootloader=3, tee=0, snp=8, microcode=115)

    assert tcb.lower_than(tcb) == ()


def test_the_text_names_every_component() -> None:
    tcb = Tcb(bootloader=1, tee=2, snp=3, microcode=4, fmc=5)

    assert str(tcb) == "bootloader 1, tee 2, snp 3, microcode 4, fmc 5"
