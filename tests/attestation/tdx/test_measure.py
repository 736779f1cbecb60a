"""TDX measurements of firmware images and kernels made here, checked against a second way to reach each number."""

import hashlib
import struct
from uuid import UUID

import pytest

from contrast_tasks.attestation.tdx import measure as measure_tdx
from contrast_tasks.errors import UsageError

FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
TDVF = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
OTHER = UUID("00f771de-1a7e-4fcb-890e-68c77e2fb44e").bytes_le


def section(
    data_offset: int, raw: int, address: int, memory: int, kind: int, attributes: int
) -> bytes:
    return struct.pack("<IIQQII", data_offset, raw, address, memory, kind, attributes)


def firmware(
    sections: list[bytes], *, size: int = 0x5000, version: int = 1, signature: bytes = b"TDVF"
) -> bytes:
    image = bytearray((index * 7 + index // 256) % 251 for index in range(size))
    metadata = struct.pack("<4sIII", signature, 16 + 32 * len(sections), version, len(sections))
    metadata += b"".join(sections)
    at = 0x100
    image[at : at + len(metadata)] = metadata
    entries = struct.pack("<I", 0x80B004) + struct.pack("<H", 22) + OTHER
    entries += struct.pack("<I", size - at) + struct.pack("<H", 22) + TDVF
    table = entries + struct.pack("<H", len(entries) + 18) + FOOTER
    image[size - 32 - len(table) : size - 32] = table
    return bytes(image)


def two_sections() -> list[bytes]:
    return [
        section(0x1000, 0x2000, 0xFFFFE000, 0x2000, 0, 1),
        section(0, 0x1000, 0xFFFFD000, 0x1000, 1, 0),
        section(0, 0, 0x809000, 0x1000, 3, 0),
    ]


def test_mrtd_is_the_hash_of_the_modules_records() -> None:
    image = firmware(two_sections())
    stream = b""
    for page in range(0x1000, 0x3000, 0x1000):
        address = 0xFFFFE000 + page - 0x1000
        stream += (b"MEM.PAGE.ADD".ljust(16, b"\0") + struct.pack("<Q", address)).ljust(128, b"\0")
        for chunk in range(0, 0x1000, 256):
            where = struct.pack("<Q", address + chunk)
            stream += (b"MR.EXTEND".ljust(16, b"\0") + where).ljust(128, b"\0")
            stream += image[page + chunk : page + chunk + 256]
    for address in (0xFFFFD000, 0x809000):
        stream += (b"MEM.PAGE.ADD".ljust(16, b"\0") + struct.pack("<Q", address)).ljust(128, b"\0")

    assert measure_tdx.mrtd(image) == hashlib.sha384(stream).digest()


def test_a_host_may_add_all_pages_of_a_section_before_it_extends_them() -> None:
    image = firmware(two_sections())
    stream = b""
    for address in (0xFFFFE000, 0xFFFFF000):
        stream += (b"MEM.PAGE.ADD".ljust(16, b"\0") + struct.pack("<Q", address)).ljust(128, b"\0")
    for chunk in range(0, 0x2000, 256):
        where = struct.pack("<Q", 0xFFFFE000 + chunk)
        stream += (b"MR.EXTEND".ljust(16, b"\0") + where).ljust(128, b"\0")
        stream += image[0x1000 + chunk : 0x1000 + chunk + 256]
    for address in (0xFFFFD000, 0x809000):
        stream += (b"MEM.PAGE.ADD".ljust(16, b"\0") + struct.pack("<Q", address)).ljust(128, b"\0")

    assert measure_tdx.mrtd(image, pages_first=True) == hashlib.sha384(stream).digest()


def test_a_changed_byte_in_an_extended_section_changes_mrtd() -> None:
    image = bytearray(firmware(two_sections()))
    before = measure_tdx.mrtd(bytes(image))
    image[0x1800] ^= 1

    assert measure_tdx.mrtd(bytes(image)) != before


def test_a_changed_byte_in_the_configuration_volume_changes_rtmr0_only() -> None:
    image = bytearray(firmware(two_sections()))
    mrtd = measure_tdx.mrtd(bytes(image))
    rtmr0 = measure_tdx.rtmr0(bytes(image), machine_digests=(), boot_option=b"ui")
    image[0x900] ^= 1

    assert measure_tdx.mrtd(bytes(image)) == mrtd
    assert measure_tdx.rtmr0(bytes(image), machine_digests=(), boot_option=b"ui") != rtmr0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param(b"", "no TDX metadata", id="empty"),
        pytest.param(bytes(0x2000), "no TDX metadata", id="no table"),
        pytest.param(firmware(two_sections(), version=2), "version 2", id="other version"),
        pytest.param(firmware(two_sections(), signature=b"XXXX"), "XXXX", id="other signature"),
        pytest.param(
            firmware([section(0x4000, 0x2000, 0x1000, 0x2000, 0, 1)]), "ends after", id="outside"
        ),
        pytest.param(
            firmware([section(0, 0x1000, 0x1000, 0x800, 0, 1)]), "whole pages", id="half a page"
        ),
        pytest.param(
            firmware([section(0, 0x2000, 0x1000, 0x1000, 0, 1)]),
            "whole pages",
            id="more data than memory",
        ),
        pytest.param(
            firmware([section(0, 0, 0, 1 << 40, 3, 0)]), "at most 64 MiB", id="a terabyte of pages"
        ),
    ],
)
def test_firmware_that_cannot_be_measured_is_refused(image: bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        measure_tdx.mrtd(image)


def test_a_section_count_beyond_the_image_is_refused() -> None:
    image = bytearray(firmware(two_sections()))
    struct.pack_into("<I", image, 0x10C, 0xFFFFFFFF)

    with pytest.raises(UsageError, match="4294967295 sections"):
        measure_tdx.mrtd(bytes(image))


def test_two_configuration_volumes_are_refused() -> None:
    volume = section(0, 0x1000, 0xFFFFD000, 0x1000, 1, 0)

    with pytest.raises(UsageError, match="2 configuration volumes"):
        measure_tdx.rtmr0(firmware([volume, volume]), machine_digests=(), boot_option=b"")


def test_a_register_is_a_chain_over_its_digests() -> None:
    one, two = hashlib.sha384(b"1").digest(), hashlib.sha384(b"2").digest()
    after_one = hashlib.sha384(bytes(48) + one).digest()

    assert measure_tdx.extend((one, two)) == hashlib.sha384(after_one + two).digest()


def test_a_digest_of_another_length_cannot_be_measured() -> None:
    with pytest.raises(UsageError, match="32 bytes, wanted 48"):
        measure_tdx.extend((bytes(32),))


def test_the_command_line_is_measured_as_the_stub_sees_it() -> None:
    line = "console=ttyS0 initrd=initrd\0".encode("utf-16-le")
    digests = (hashlib.sha384(line).digest(), hashlib.sha384(b"ramdisk").digest())

    assert measure_tdx.rtmr2(command_line="console=ttyS0", initrd=b"ramdisk") == measure_tdx.extend(
        digests
    )


def portable_executable(*, certificates: bytes = b"", trailing: bytes = b"") -> bytes:
    """Return a bzImage-like PE32+ file: headers of 0x400 bytes, two sections out of file order."""
    image = bytearray(0x400)
    image[0:2] = b"MZ"
    struct.pack_into("<I", image, 0x3C, 0x80)
    image[0x202:0x206] = b"HdrS"
    image[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<HH", image, 0x84, 0x8664, 2)
    struct.pack_into("<H", image, 0x94, 0xF0)
    optional = 0x98
    struct.pack_into("<H", image, optional, 0x20B)
    struct.pack_into("<I", image, optional + 60, 0x400)
    struct.pack_into("<I", image, optional + 64, 0xDEADBEEF)
    struct.pack_into("<I", image, optional + 108, 16)
    total = 0x400 + 0x300 + len(trailing)
    if certificates:
        struct.pack_into("<II", image, optional + 112 + 32, total, len(certificates))
    table = optional + 0xF0
    struct.pack_into("<II", image, table + 16, 0x100, 0x600)
    struct.pack_into("<II", image, table + 40 + 16, 0x200, 0x400)
    return bytes(image) + b"A" * 0x200 + b"B" * 0x100 + trailing + certificates


def test_authenticode_leaves_out_checksum_and_certificates() -> None:
    plain = bytearray(portable_executable())
    digest = measure_tdx.authenticode_sha384(bytes(plain))
    struct.pack_into("<I", plain, 0x98 + 64, 0x12345678)
    signed = portable_executable(certificates=b"C" * 64)

    assert measure_tdx.authenticode_sha384(bytes(plain)) == digest
    assert measure_tdx.authenticode_sha384(signed) == digest


def test_authenticode_is_the_hash_of_all_the_rest() -> None:
    image = portable_executable(trailing=b"tail")
    checksum, security = 0x98 + 64, 0x98 + 112 + 32
    kept = image[:checksum] + image[checksum + 4 : security] + image[security + 8 :]

    assert measure_tdx.authenticode_sha384(image) == hashlib.sha384(kept).digest()


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"MZ" + bytes(0x80), id="no PE header"),
        pytest.param(portable_executable()[:0x90], id="cut short"),
        pytest.param(portable_executable()[:0x500], id="sections cut off"),
    ],
)
def test_what_is_no_kernel_is_refused(image: bytes) -> None:
    with pytest.raises(UsageError):
        measure_tdx.authenticode_sha384(image)


def test_the_kernel_is_measured_with_the_fields_that_qemu_sets() -> None:
    patched = measure_tdx.patched_kernel(portable_executable(), initrd_bytes=0x1234)

    assert patched[0x210:0x212] == b"\xb0\x81"
    assert patched[0x218:0x220] == bytes.fromhex("0000008034120000")
    assert patched[0x224:0x22C] == bytes.fromhex("00fe000000000200")


def test_rtmr1_depends_on_the_size_of_the_ram_disk() -> None:
    kernel = portable_executable()

    assert measure_tdx.rtmr1(kernel, initrd_bytes=1) != measure_tdx.rtmr1(kernel, initrd_bytes=2)


def test_a_kernel_without_a_boot_header_is_refused() -> None:
    with pytest.raises(UsageError, match="not a bzImage"):
        measure_tdx.patched_kernel(bytes(0x1000), initrd_bytes=0)
