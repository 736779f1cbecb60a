"""Reading and writing the block device beneath an encrypted volume."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contrast_tasks.guest.volumes.errors import VolumeNotOpened

_MIB = 1 << 20
SMALLEST = 32 * _MIB
"""Bytes of a device at least: header and integrity take 17 MiB, and ext4 makes a journal from 28 MiB on (measured)."""
# The header's area, the integrity superblock behind it, and the end, where other formats keep things.
_PROBED_MIB = 18


@contextmanager
def opened(device: Path, *, is_writable: bool = False) -> Iterator[int]:
    """Yield a descriptor of a device; every OSError inside becomes a VolumeNotOpened that names the device."""
    try:
        descriptor = os.open(device, (os.O_RDWR if is_writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)
    except FileNotFoundError as err:
        raise VolumeNotOpened(f"there is no device {device}") from err
    except OSError as err:
        verb = "written" if is_writable else "read"
        raise VolumeNotOpened(f"the device {device} cannot be {verb}: {err.strerror}") from err


def size_of(descriptor: int) -> int:
    """Return the size of a device, in bytes."""
    return os.lseek(descriptor, 0, os.SEEK_END)


def read_at(descriptor: int, offset: int, size: int) -> bytes:
    """Return `size` bytes at an offset, fewer at the end of the device; raises OSError."""
    found = b""
    while len(found) < size:
        part = os.pread(descriptor, size - len(found), offset + len(found))
        if not part:
            break
        found += part
    return found


def write_at(descriptor: int, offset: int, content: bytes) -> None:
    """Write all bytes at an offset; raises OSError."""
    view = memoryview(content)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count


def first_data(descriptor: int) -> int | None:
    """Return the offset of the first byte that is not zero, None if a device was surely never used.

    Looks at the first 18 MiB and the last one.
    """
    end = size_of(descriptor)
    starts = [number * _MIB for number in range(_PROBED_MIB)] + [max(0, end - _MIB)]
    for start in starts:
        found = read_at(descriptor, start, _MIB)
        if found.count(0) != len(found):
            return start + len(found) - len(found.lstrip(b"\0"))
    return None
