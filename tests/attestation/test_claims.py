from cryptography import x509

from contrast_tasks.attestation import der
from contrast_tasks.attestation.claims import claims_extensions
from tests.fakes.attestation import (
    CHIP_ID,
    HOST_DATA,
    MEASUREMENT,
    REPORT_DATA,
    FakeAmd,
)

PREFIX = "1.3.9901.2.1."


def claims() -> dict[int, bytes]:
    report = FakeAmd().report(policy=0x30000 | 1 << 20 | 0x1F, signer_info=0b10)
    return {int(oid.removeprefix(PREFIX)): value for oid, value in claims_extensions(report)}


def test_there_are_46_claims_in_ascending_order() -> None:
    oids = [oid for oid, _ in claims_extensions(FakeAmd().report())]

    assert oids == [f"{PREFIX}{number}" for number in range(1, 47)]


def test_numbers_are_integers() -> None:
    found = claims()

    assert found[1] == b"\x02\x01\x05"
    assert found[2] == b"\x02\x01\x02"
    assert found[3] == b"\x02\x01\x00"
    assert found[4] == b"\x02\x01\x1f"
    assert found[11] == b"\x02\x01\x00"
    assert found[20] == b"\x02\x01\x00"
    assert [found[number] for number in range(37, 43)] == [
        b"\x02\x01\x1d",
        b"\x02\x01\x37",
        b"\x02\x01\x01",
    ] * 2


def test_tcb_components_are_boot_loader_snp_tee_microcode() -> None:
    found = claims()
    wanted = [b"\x02\x01\x04", b"\x02\x01\x18", b"\x02\x01\x01", b"\x02\x02\x00\xdb"]

    for first in (12, 28, 33, 43):
        assert [found[first + step] for step in range(4)] == wanted


def test_flags_are_booleans() -> None:
    found = claims()
    flags = {number: der.boolean(der.only(found[number], der.BOOLEAN)) for number in (5, 6, 7, 8, 16, 17, 18, 19)}  # fmt: skip

    assert flags == {
        5: False,
        6: False,
        7: True,
        8: True,
        16: True,
        17: False,
        18: False,
        19: True,
    }


def test_bytes_are_octet_strings() -> None:
    found = claims()

    assert found[21] == b"\x04\x40" + REPORT_DATA
    assert found[22] == b"\x04\x30" + MEASUREMENT
    assert found[23] == b"\x04\x20" + HOST_DATA
    assert found[32] == b"\x04\x40" + CHIP_ID
    assert found[9][:2] == b"\x04\x10"
    assert found[27] == b"\x04\x20" + b"\xff" * 32


def test_each_claim_is_a_valid_extension() -> None:
    for oid, value in claims_extensions(FakeAmd().report()):
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), value)

        assert extension.public_bytes() == value
