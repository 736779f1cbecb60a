"""One encrypted volume: formatted if its device was never used, opened, mounted, and closed again.

The order makes it safe to be killed at any point. A device begins with

    zeros              never used: a mark is written there, then everything else of the format, the header last
    the mark           a format that never ended; nobody has stored anything yet, so it begins again
    a LUKS2 header     a complete volume: it is opened, and never formatted
    anything else      not ours: it is refused

The header is made in the guest's memory, and the file system lies in the volume before the device has a header at all. The
header's first block takes the mark's place in one sector, so a volume is complete or was never there.
Source: docs/internals/runtime.md 7.4.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contrast_tasks.guest.commands import Run
from contrast_tasks.guest.volumes import filesystem, header
from contrast_tasks.guest.volumes.device import (
    SMALLEST,
    first_data,
    opened,
    read_at,
    size_of,
    write_at,
)
from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.records import Record

MARK = b"contrast-tasks: this volume is being formatted\n".ljust(4096, b"\0")
"""The first block of a device while it is formatted; like the header's, its bytes are in the first sector."""

# Exit statuses of cryptsetup: not LUKS for isLuks, inactive for status, no key for open. Source: cryptsetup(8), RETURN CODES.
_NOT_LUKS = 1
_WRONG_KEY = 2
_INACTIVE = 4
# A key file of 128 digits is not guessed, so the derivation needs no time; memory as docs/internals/runtime.md 7.4.
_FORMAT = (
    *("--type", "luks2", "--cipher", "aes-xts-plain64", "--key-size", "512"),
    *("--pbkdf", "argon2id", "--pbkdf-memory", "10240", "--pbkdf-force-iterations", "4"),
    *("--integrity", "hmac-sha256", "--integrity-no-wipe", "--sector-size", "4096"),
    # cryptsetup fills the keyslots' area with random bytes, 16 MiB by default.
    *("--luks2-keyslots-size", str(header.KEYSLOTS_SIZE)),
    *("--batch-mode", "--key-file", "-"),
)
_SECTOR = 512


class Places(Record):
    """Folders that the tools use, which tests replace."""

    headers: Path = Path("/dev/shm/contrast-cryptsetup")  # noqa: S108  # 0700, and the guest's memory
    locks: Path = Path("/run/cryptsetup")
    mapped: Path = Path("/dev/mapper")
    kernel: Path = Path("/sys/class/block")


class Volume(Record):
    """An encrypted volume of a pod: its block device, where it is mounted, and whether another one lies beside it.

    is_first: the only one, or the first of several; volumes of the reference product have no label and are first.
    """

    device: Path
    mount: Path
    is_first: bool = True
    places: Places = Places()

    @property
    def name(self) -> str:
        """Return the name of the mapping: 16 hex digits."""
        return hashlib.sha256(f"{self.device}{self.mount}".encode()).hexdigest()[:16]

    @property
    def mapped(self) -> Path:
        """Return the opened volume's device."""
        return self.places.mapped / self.name

    @property
    def label(self) -> str:
        """Return the file system's label, which tells the volumes of a pod apart: the host could exchange them."""
        return self.mount.name


def open_volume(volume: Volume, secret: bytes, run: Run) -> bool:
    """Format a volume if need be, open and mount it; return whether it was formatted.

    secret: the workload secret, 64 bytes. Raises VolumeNotOpened, after which what was on the device is still there.
    """
    key = secret.hex().encode()
    is_new = False
    try:
        volume.places.locks.mkdir(mode=0o755, parents=True, exist_ok=True)
        if not _is_active(volume, run):
            if is_new := _needs_format(volume, run):
                _format(volume, key, run)
            with _header_copy(volume) as copy:
                _map(volume, copy, key, run, volume.name)
        try:
            _mount(volume, run)
        except BaseException:
            run(["cryptsetup", "close", volume.name], b"")
            raise
    except OSError as err:
        raise VolumeNotOpened(f"{err.filename}: {err.strerror}") from err
    return is_new


def close_volume(volume: Volume, run: Run) -> None:
    """Unmount and close a volume. Raises VolumeNotOpened if it is in use; everything in it has been written then too."""
    for argv in (["umount", str(volume.mount)], ["cryptsetup", "close", volume.name]):
        ended = run(argv, b"")
        if ended.status != 0:
            raise VolumeNotOpened(
                f"the volume at {volume.mount} cannot be closed: {argv[0]} ended with {ended.reason()}"
            )


def _is_active(volume: Volume, run: Run) -> bool:
    """Return whether the mapping is there: an earlier run of this container was killed, and the guest lives on."""
    ended = run(["cryptsetup", "status", volume.name], b"")
    if ended.status == 0:
        _ensure_node(volume)
        return True
    if ended.status != _INACTIVE:
        raise _failed("tell whether the volume is open", "cryptsetup status", ended.reason())
    return False


def _ensure_node(volume: Volume) -> None:
    # The container's /dev is new after a restart, and the mapping is not.
    if volume.mapped.exists():
        return
    for found in volume.places.kernel.glob("dm-*/dm/name"):
        if found.read_text().strip() == volume.name:
            major, minor = (found.parents[1] / "dev").read_text().split(":")
            volume.places.mapped.mkdir(parents=True, exist_ok=True)
            os.mknod(volume.mapped, 0o060600, os.makedev(int(major), int(minor)))


def _needs_format(volume: Volume, run: Run) -> bool:
    """Return whether a device was surely never used, or its format never ended. Raises VolumeNotOpened for other data."""
    with opened(volume.device) as descriptor:
        size = size_of(descriptor)
        if size < SMALLEST:
            raise VolumeNotOpened(
                f"the device {volume.device} has {size} bytes, wanted at least {SMALLEST}"
            )
        start = read_at(descriptor, 0, header.HEADER_SIZE)
        if start[: len(MARK)] == MARK:
            return True
        second = read_at(descriptor, header.SECONDARY, len(header.SECONDARY_MAGIC))
        if start.startswith(header.MAGIC) or second == header.SECONDARY_MAGIC:
            return False
        if (offset := first_data(descriptor)) is not None:
            raise VolumeNotOpened(
                f"the device {volume.device} holds data, first at byte {offset}, and is no encrypted volume",
                hint="nothing was changed; attach an empty volume, or overwrite this one with zeros if nobody needs it",
            )
    # Not before: where it finds one good header, it repairs the other on the device.
    ended = run(["cryptsetup", "isLuks", str(volume.device)], b"")
    if ended.status != _NOT_LUKS:
        raise _failed("tell what is on the device", "cryptsetup isLuks", ended.reason())
    return True


def _format(volume: Volume, key: bytes, run: Run) -> None:
    # Under another name than the complete volume's, for which an earlier run's could be taken.
    name = f"{volume.name}-new"
    if run(["cryptsetup", "status", name], b"").status == 0:
        run(["cryptsetup", "close", name], b"")
    with opened(volume.device, is_writable=True) as descriptor:
        write_at(descriptor, 0, MARK)
        os.fsync(descriptor)
    with _memory_file(volume, "new") as made:
        os.truncate(made, header.KEYSLOTS + header.KEYSLOTS_SIZE)
        offset = str(header.DATA_OFFSET // _SECTOR)
        argv = ["cryptsetup", "luksFormat", *_FORMAT, "--header", str(made), "--offset", offset]
        ended = run([*argv, str(volume.device)], key)
        if ended.status != 0:
            raise _failed("format the device", "cryptsetup luksFormat", ended.reason())
        content = made.read_bytes()
        # A cryptsetup that writes another header would leave a volume that nobody opens.
        header.verify_header(content[: header.HEADER_SIZE])
        _map(volume, made, key, run, name)
        try:
            filesystem.make(volume.places.mapped / name, volume.label, run)
        finally:
            closed = run(["cryptsetup", "close", name], b"")
        if closed.status != 0:
            raise _failed("close the new volume", "cryptsetup close", closed.reason())
    _commit(volume, content[: header.KEYSLOTS + header.KEYSLOTS_SIZE])


def _commit(volume: Volume, content: bytes) -> None:
    """Write headers and keyslots: what the headers refer to before them, and the block with the mark last."""
    first = len(MARK)
    with opened(volume.device, is_writable=True) as descriptor:
        for start, end in (
            (header.KEYSLOTS, len(content)),
            (first, header.KEYSLOTS),
            (0, first),
        ):
            write_at(descriptor, start, content[start:end])
            os.fsync(descriptor)


@contextmanager
def _header_copy(volume: Volume) -> Iterator[Path]:
    """Yield a file with the device's header and keyslots, read once and verified."""
    with opened(volume.device) as descriptor:
        start = read_at(descriptor, 0, header.HEADER_SIZE)
        keyslots = read_at(descriptor, header.KEYSLOTS, header.verify_header(start))
    with _memory_file(volume, "luks-header") as copy:
        copy.write_bytes(start + header.secondary_of(start) + keyslots)
        yield copy


@contextmanager
def _memory_file(volume: Volume, kind: str) -> Iterator[Path]:
    volume.places.headers.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = volume.places.headers / f"{kind}-{volume.name[:8]}"
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _map(volume: Volume, copy: Path, key: bytes, run: Run, name: str) -> None:
    argv = ["cryptsetup", "open", "--type", "luks2", "--header", str(copy), "--key-file", "-"]
    ended = run([*argv, str(volume.device), name], key)
    if ended.status == _WRONG_KEY:
        raise VolumeNotOpened(
            f"the volume on {volume.device} was encrypted with another workload secret, or its keyslot is damaged",
            hint="nothing was changed; the Coordinator's seed or the workload's secret id is another one than when the volume"
            " was made",
        )
    if ended.status != 0:
        raise _failed("open the volume", "cryptsetup open", ended.reason())


def _mount(volume: Volume, run: Run) -> None:
    found = filesystem.label_of(volume.mapped)
    if found != volume.label and (found or not volume.is_first):
        raise VolumeNotOpened(
            f"the volume on {volume.device} is labelled {found!r}, wanted {volume.label!r}",
            hint="the volumes of the pod were exchanged, or their order in secure-pv was",
        )
    owner = volume.mount.stat()
    # The folder is a mount of its own, the pod's emptyDir; after a restart the volume may still lie over it.
    if owner.st_dev != volume.mapped.stat().st_rdev:
        argv = ["mount", "-t", "ext4", "-o", "sync,data=journal"]
        ended = run([*argv, str(volume.mapped), str(volume.mount)], b"")
        if ended.status != 0:
            raise _failed("mount the volume", "mount", ended.reason())
    filesystem.settle(volume.mount, owner)


def _failed(deed: str, command: str, reason: str) -> VolumeNotOpened:
    return VolumeNotOpened(f"cannot {deed}: {command} ended with {reason}")
