"""Small images to measure: a firmware like OVMF with TDX metadata, a kernel like a bzImage."""

import struct
from uuid import UUID

_FOOTER = UUID("96b582de-1fb2-45f7-baea-a366c55a082d").bytes_le
_TDVF = UUID("e47a6535-984a-4798-865e-4685a7bf8ec2").bytes_le
_SIZE = 0x5000
# Data offset, raw size, address, memory size, kind, attributes: boot volume, configuration volume, temporary memory.
_SECTIONS = (
    (0x1000, 0x2000, 0xFFFFE000, 0x2000, 0, 1),
    (0, 0x1000, 0xFFFFD000, 0x1000, 1, 0),
    (0, 0, 0x809000, 0x1000, 3, 0),
)


def tdx_firmware() -> bytes:
    """Return an image of 20 KiB with a table of three sections at its end."""
    image = bytearray(index % 251 for index in range(_SIZE))
    metadata = struct.pack("<4sIII", b"TDVF", 16 + 32 * len(_SECTIONS), 1, len(_SECTIONS))
    metadata += b"".join(struct.pack("<IIQQII", *section) for section in _SECTIONS)
    image[0x100 : 0x100 + len(metadata)] = metadata
    entry = struct.pack("<I", _SIZE - 0x100) + struct.pack("<H", 22) + _TDVF
    table = entry + struct.pack("<H", len(entry) + 18) + _FOOTER
    image[_SIZE - 32 - len(table) : _SIZE - 32] = table
    return bytes(image)


def kernel() -> bytes:
    """Return a PE32+ file with a Linux boot header and one section."""
    image = bytearray(0x400)
    image[0:2] = b"MZ"
    struct.pack_into("<I", image, 0x3C, 0x80)
    image[0x202:0x206] = b"HdrS"
    image[0x80:0x84] = b"PE\0\0"
    struct.pack_into("<HH", image, 0x84, 0x8664, 1)
    struct.pack_into("<H", image, 0x94, 0xF0)
    optional = 0x98
    struct.pack_into("<H", image, optional, 0x20B)
    struct.pack_into("<I", image, optional + 60, 0x400)
    struct.pack_into("<I", image, optional + 108, 16)
    struct.pack_into("<II", image, optional + 0xF0 + 16, 0x200, 0x400)
    return bytes(image) + b"A" * 0x200
