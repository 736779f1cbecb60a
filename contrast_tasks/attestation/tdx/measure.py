"""Calculate MRTD and RTMR0 to RTMR2 of a TDX guest from firmware, kernel, initrd and command line.

MRTD is a SHA-384 over the module's records of added pages and extended chunks, in the order of the firmware's section table;
the order inside a section depends on the host. A runtime measurement register is a chain, R = SHA-384(R || digest), that starts
at zeros. What firmware measures of the machine (ACPI tables, fw_cfg) depends on the builds of firmware and QEMU, so the caller
gives its digests.

Source: Intel TDX module specification (TDH.MEM.PAGE.ADD, TDH.MR.EXTEND), TDX virtual firmware design guide (metadata), and
the UEFI and TCG event definitions named with each constant.
"""

import hashlib
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from contrast_tasks.errors import UsageError

_PAGE = 4096
_CHUNK = 256
_RECORD = 128
_REGISTER_BYTES = 48
_MR_EXTEND = 1
_SECTION = struct.Struct("<IIQQII")
_FOOTER_GUID = UUID("96b582de-1fb2-45f7-baea-a366c55a082d")
_TDVF_GUID = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2")
_FOOTER_END = 32
_GUID_BYTES = 16
_ENTRY_TAIL = _GUID_BYTES + 2
_MOST_SECTIONS = 64
_MOST_SECTION_BYTES = 64 * 1024 * 1024
_BOOT_HEADER_END = 0x268
_PE32, _PE32_PLUS = 0x10B, 0x20B

_CONFIGURATION_VOLUME = 1  # the kind of a section

_EFI_GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_EFI_IMAGE_SECURITY = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
SEPARATOR = bytes(4)
# Events when a boot option is started and when boot services end (TCG PC Client Platform Firmware Profile).
CALLING_EFI_APPLICATION = b"Calling EFI Application from Boot Option"
EXIT_BOOT_INVOKED = b"Exit Boot Services Invocation"
EXIT_BOOT_SUCCEEDED = b"Exit Boot Services Returned with Success"


class TdvfSection(NamedTuple):
    """One entry of the firmware's TDX metadata; offsets and sizes in bytes, `address` is guest physical."""

    data_offset: int
    raw_bytes: int
    address: int
    memory_bytes: int
    kind: int
    attributes: int


def tdvf_sections(firmware: bytes) -> tuple[TdvfSection, ...]:
    """Return the sections of the firmware's TDX metadata in file order; the table at its end points to them."""
    metadata = _footer_entry(firmware, _TDVF_GUID)
    if metadata is None or len(metadata) != 4:  # noqa: PLR2004  # u32
        raise UsageError(
            "the firmware has no TDX metadata; wanted an OVMF image built with TDX support"
        )
    start = len(firmware) - int.from_bytes(metadata, "little")
    if start < 0 or start + 16 > len(firmware):
        raise UsageError("the firmware's TDX metadata lies outside the image")
    signature, _, version, count = struct.unpack_from("<4sIII", firmware, start)
    if signature != b"TDVF" or version != 1:
        raise UsageError(
            f"the firmware's TDX metadata has signature {signature!r} version {version}, wanted b'TDVF' version 1"
        )
    if count > _MOST_SECTIONS or start + 16 + count * _SECTION.size > len(firmware):
        raise UsageError(f"the firmware's TDX metadata lists {count} sections, which do not fit")
    sections = []
    for index in range(count):
        values = _SECTION.unpack_from(firmware, start + 16 + index * _SECTION.size)
        section = TdvfSection(*values)
        _require_usable(section, len(firmware), index)
        sections.append(section)
    return tuple(sections)


def _require_usable(section: TdvfSection, size: int, index: int) -> None:
    if section.data_offset + section.raw_bytes > size:
        raise UsageError(f"TDX metadata section {index} ends after the firmware image")
    if (
        section.memory_bytes % _PAGE
        or section.address % _PAGE
        or section.raw_bytes > section.memory_bytes
    ):
        raise UsageError(
            f"TDX metadata section {index} does not consist of whole pages that hold its data"
        )
    if section.memory_bytes > _MOST_SECTION_BYTES:
        raise UsageError(
            f"TDX metadata section {index} covers {section.memory_bytes} bytes, at most 64 MiB"
        )


def _footer_entry(firmware: bytes, wanted: UUID) -> bytes | None:
    """Return the data of an entry in OVMF's GUIDed table, None if there is none.

    The table is read backwards, from 32 bytes before the end of the image.
    """
    end = len(firmware) - _FOOTER_END
    if end < _ENTRY_TAIL or firmware[end - _GUID_BYTES : end] != _FOOTER_GUID.bytes_le:
        return None
    total = int.from_bytes(firmware[end - _ENTRY_TAIL : end - _GUID_BYTES], "little")
    if not _ENTRY_TAIL <= total <= end:
        return None
    at, first = end - _ENTRY_TAIL, end - total
    while at - _ENTRY_TAIL >= first:
        guid = firmware[at - _GUID_BYTES : at]
        size = int.from_bytes(firmware[at - _ENTRY_TAIL : at - _GUID_BYTES], "little")
        if not _ENTRY_TAIL <= size <= at - first:
            return None
        if guid == wanted.bytes_le:
            return firmware[at - size : at - _ENTRY_TAIL]
        at -= size
    return None


def mrtd(firmware: bytes, *, pages_first: bool = False) -> bytes:
    """Return MRTD, 48 bytes, for a firmware image that QEMU loads.

    Every page of every section is added; pages of sections with attribute bit 0 are also extended, 256 bytes at a time.
    pages_first: the host adds all pages of a section before it extends the first, as QEMU 8.2 of Canonical's TDX does. Linux
    hosts since 6.16 extend each page right after adding it.
    """
    state = hashlib.sha384()
    for section in tdvf_sections(firmware):
        raw = firmware[section.data_offset : section.data_offset + section.raw_bytes]
        data = raw.ljust(section.memory_bytes, b"\0")
        offsets = range(0, section.memory_bytes, _PAGE)
        extended = bool(section.attributes & _MR_EXTEND)
        for offset in offsets:
            state.update(_record(b"MEM.PAGE.ADD", section.address + offset))
            if extended and not pages_first:
                _extend_page(state, section.address, data, offset)
        if extended and pages_first:
            for offset in offsets:
                _extend_page(state, section.address, data, offset)
    return state.digest()


def _extend_page(state: "hashlib._Hash", address: int, data: bytes, offset: int) -> None:
    for chunk in range(offset, offset + _PAGE, _CHUNK):
        state.update(_record(b"MR.EXTEND", address + chunk))
        state.update(data[chunk : chunk + _CHUNK])


def _record(name: bytes, address: int) -> bytes:
    return (name.ljust(16, b"\0") + address.to_bytes(8, "little")).ljust(_RECORD, b"\0")


def extend(digests: Iterable[bytes], start: bytes = bytes(_REGISTER_BYTES)) -> bytes:
    """Return a runtime measurement register after it was extended with each digest (48 bytes) in order."""
    register = start
    for digest in digests:
        if len(digest) != _REGISTER_BYTES:
            raise UsageError(f"a measured digest has {len(digest)} bytes, wanted {_REGISTER_BYTES}")
        register = hashlib.sha384(register + digest).digest()
    return register


def event(content: bytes) -> bytes:
    """Return the SHA-384 of an event's content."""
    return hashlib.sha384(content).digest()


def variable_event(vendor: UUID, name: str, value: bytes = b"") -> bytes:
    """Return the digest of a UEFI variable: vendor GUID, lengths of name (characters) and value, name, value."""
    text = name.encode("utf-16-le")
    header = vendor.bytes_le + struct.pack("<QQ", len(name), len(value))
    return event(header + text + value)


def secure_boot_events() -> tuple[bytes, ...]:
    """Return the digests of the five secure boot variables, which are empty without secure boot."""
    return (
        *(variable_event(_EFI_GLOBAL, name) for name in ("SecureBoot", "PK", "KEK")),
        *(variable_event(_EFI_IMAGE_SECURITY, name) for name in ("db", "dbx")),
    )


def rtmr0(
    firmware: bytes,
    *,
    machine_digests: Sequence[bytes],
    boot_option: bytes,
    final_separator: bool = False,
) -> bytes:
    """Return RTMR0: configuration volume, secure boot variables, separator, machine, boot order, boot option.

    machine_digests: what these builds of firmware and QEMU measure of ACPI and fw_cfg, 48 bytes each, in order.
    boot_option: the measured value of Boot0000. final_separator: older firmware measures another separator at the end.
    """
    volumes = [
        section for section in tdvf_sections(firmware) if section.kind == _CONFIGURATION_VOLUME
    ]
    if len(volumes) != 1:
        raise UsageError(f"the firmware has {len(volumes)} configuration volumes, wanted 1")
    (volume,) = volumes
    configuration = firmware[volume.data_offset : volume.data_offset + volume.raw_bytes]
    return extend(
        (
            event(configuration),
            *secure_boot_events(),
            event(SEPARATOR),
            *machine_digests,
            event(bytes(2)),
            event(boot_option),
            *((event(SEPARATOR),) if final_separator else ()),
        )
    )


def rtmr1(kernel: bytes, *, initrd_bytes: int) -> bytes:
    """Return RTMR1: the kernel as QEMU loads it, then the events at the end of boot services.

    initrd_bytes: the size of the initrd, which QEMU writes into the kernel's header.
    """
    return extend(
        (
            authenticode_sha384(patched_kernel(kernel, initrd_bytes=initrd_bytes)),
            event(CALLING_EFI_APPLICATION),
            event(SEPARATOR),
            event(EXIT_BOOT_INVOKED),
            event(EXIT_BOOT_SUCCEEDED),
        )
    )


def rtmr2(*, command_line: str, initrd: bytes) -> bytes:
    """Return RTMR2: the command line as the EFI stub measures it (with ` initrd=initrd` and NUL, in UTF-16), then the initrd."""
    text = f"{command_line} initrd=initrd\0".encode("utf-16-le")
    return extend((event(text), event(initrd)))


def patched_kernel(kernel: bytes, *, initrd_bytes: int) -> bytes:
    """Return the kernel with the boot protocol fields that QEMU sets before the firmware measures it.

    Fields (Linux x86 boot protocol): 0x210 type of loader, 0x211 load flags, 0x224 heap end, 0x228 command line address,
    0x218 ram disk address (QEMU's placeholder), 0x21c ram disk size.
    """
    if len(kernel) < _BOOT_HEADER_END or kernel[0x202:0x206] != b"HdrS":
        raise UsageError("the kernel is not a bzImage: no boot header at offset 0x202")
    patched = bytearray(kernel)
    patched[0x210] = 0xB0
    patched[0x211] = 0x81
    patched[0x224:0x226] = bytes((0x00, 0xFE))
    patched[0x228:0x22C] = bytes((0x00, 0x00, 0x02, 0x00))
    struct.pack_into("<II", patched, 0x218, 0x80000000, initrd_bytes)
    return bytes(patched)


def authenticode_sha384(image: bytes) -> bytes:
    """Return the Authenticode digest of a PE image, over all but checksum, certificate table entry and signatures.

    Source: Windows Authenticode Portable Executable Signature Format, "Calculating the PE Image Hash".
    """
    try:
        return _authenticode(image)
    except struct.error as err:
        raise UsageError("the kernel is not a PE image: its headers are cut short") from err


def _authenticode(image: bytes) -> bytes:
    (pe,) = struct.unpack_from("<I", image, 0x3C)
    if image[:2] != b"MZ" or image[pe : pe + 4] != b"PE\0\0":
        raise UsageError("the kernel is not a PE image; it needs an EFI stub")
    sections, optional_bytes = struct.unpack_from("<H12xH", image, pe + 6)
    optional = pe + 24
    (magic,) = struct.unpack_from("<H", image, optional)
    if magic not in (_PE32, _PE32_PLUS):
        raise UsageError(f"the kernel's PE header has magic {magic:#x}, wanted 0x10b or 0x20b")
    directories = optional + (96 if magic == _PE32 else 112)
    (directory_count,) = struct.unpack_from("<I", image, directories - 4)
    checksum, security = optional + 64, directories + 4 * 8
    (headers_bytes,) = struct.unpack_from("<I", image, optional + 60)
    state = hashlib.sha384(image[:checksum])
    certificates = 0
    if directory_count > 4:  # noqa: PLR2004  # the certificate table is the fifth
        (certificates,) = struct.unpack_from("<I", image, security + 4)
        state.update(image[checksum + 4 : security])
        state.update(image[security + 8 : headers_bytes])
    else:
        state.update(image[checksum + 4 : headers_bytes])
    hashed = headers_bytes
    table = optional + optional_bytes
    ranges = []
    for index in range(sections):
        size, offset = struct.unpack_from("<II", image, table + 40 * index + 16)
        if size:
            ranges.append((offset, size))
    for offset, size in sorted(ranges):
        if offset + size > len(image):
            raise UsageError("the kernel's PE sections end after the file")
        state.update(image[offset : offset + size])
        hashed += size
    if len(image) > hashed + certificates:
        state.update(image[hashed : len(image) - certificates])
    return state.digest()
