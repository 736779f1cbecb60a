"""The ext4 file system inside an opened volume: made once, recognised ever after.

The mapped device is the path of a device whose sectors give an I/O error until they are written for the first time, because
they have no integrity tag yet.
"""

import contextlib
import os
import re
from pathlib import Path

from contrast_tasks.guest.commands import Run
from contrast_tasks.guest.volumes.device import opened, write_at
from contrast_tasks.guest.volumes.errors import VolumeNotOpened

BLOCK = 4096
# Source: Linux, fs/ext4/ext4.h: the superblock begins at 1024, s_magic at 0x38, s_volume_name at 0x78.
_SUPERBLOCK = 1024
_MAGIC = b"\x53\xef"
_MAGIC_AT = 0x38
_LABEL = slice(0x78, 0x78 + 16)
_LOST_AND_FOUND = "lost+found"


def label_of(mapped: Path) -> str:
    """Return the label of the file system in an opened volume.

    A volume of ours has one from the beginning, so another state is damage, or a format that another program began and never
    ended; nobody can tell which. Raises VolumeNotOpened for both.
    """
    with opened(mapped) as descriptor:
        try:
            superblock = os.pread(descriptor, BLOCK, 0)[_SUPERBLOCK:]
        except OSError:
            superblock = b""
    if superblock[_MAGIC_AT : _MAGIC_AT + 2] != _MAGIC:
        raise VolumeNotOpened(
            "the volume is open, and its file system is damaged or was never finished",
            hint="nothing was changed; repair a copy with e2fsck, or overwrite the device with zeros if nobody needs it",
        )
    return superblock[_LABEL].rstrip(b"\0").decode(errors="replace")


def make(mapped: Path, label: str, run: Run) -> None:
    """Make the file system. Raises VolumeNotOpened."""
    options = ["-F", "-q", "-b", str(BLOCK), "-L", label, "-E", "nodiscard"]
    dry = run(["mkfs.ext4", "-n", "-b", str(BLOCK), str(mapped)], b"")
    if dry.status != 0:
        raise VolumeNotOpened(
            f"no file system fits into the volume: mkfs.ext4 ended with {dry.reason()}"
        )
    # mkfs writes parts of blocks that hold a superblock, which the kernel can only do once it has read the rest of them.
    copies = dry.output.partition("Superblock backups stored on blocks:")[2]
    with opened(mapped, is_writable=True) as descriptor:
        for number in (0, *map(int, re.findall(r"\d+", copies))):
            write_at(descriptor, number * BLOCK, bytes(BLOCK))
        os.fsync(descriptor)
    made = run(["mkfs.ext4", *options, str(mapped)], b"")
    if made.status != 0:
        raise VolumeNotOpened(
            f"the file system cannot be made: mkfs.ext4 ended with {made.reason()}"
        )


def settle(folder: Path, owner: os.stat_result) -> None:
    """Give a new file system's root the owner and mode of the folder that it covers, and leave it empty.

    folder: where it is mounted. owner: of the folder before. The kubelet prepared the folder for the pod's users (fsGroup),
    and cannot do so in a volume that it never sees. `lost+found` makes databases refuse a folder as not empty.
    """
    found = folder.stat()
    if (found.st_uid, found.st_gid, found.st_mode & 0o7777) != (0, 0, 0o755):
        return
    if {path.name for path in folder.iterdir()} - {_LOST_AND_FOUND}:
        return
    with contextlib.suppress(FileNotFoundError):
        (folder / _LOST_AND_FOUND).rmdir()
    os.chown(folder, owner.st_uid, owner.st_gid)
    folder.chmod(owner.st_mode & 0o7777)
