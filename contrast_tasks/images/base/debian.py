"""Debian packages as entries of a layer: what they install, without running any of their scripts.

A .deb is an `ar` archive of three members: the format's version, the archive of control files, and the archive of the files to
install. Rules, each with a test:
- paths outside of the root, devices and FIFOs are refused;
- owners, times, setuid, setgid and sticky bits are dropped, only a folder that all share keeps its sticky bit;
- hard links become copies, so that each file stands for itself;
- what lies in /bin, /sbin and /lib* goes to /usr, where the links of the package base-files lead;
- manuals, translations and documentation are left out; copyright notices stay.
Source: deb(5); ar(5); the Debian policy, 10.1 (merged /usr).
"""

import io
import lzma
import tarfile
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import ArchiveError
from contrast_tasks.images.compression import decompressed
from contrast_tasks.images.layers import member_path
from contrast_tasks.images.pack import Entry

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_AR_END = b"`\n"
_FORMAT = b"2.0\n"
_XZ_MAGIC = b"\xfd7zXZ\x00"
# What a package may unpack to; the largest of those in use has 40 MB.
_MAX_UNPACKED_BYTES = 1 << 30
_MERGED = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
_UNUSED = (
    *("usr/share/man/", "usr/share/locale/", "usr/share/info/", "usr/share/lintian/"),
    *("usr/share/bash-completion/", "usr/share/bug/", "usr/share/doc-base/", "usr/share/menu/"),
    *("usr/share/doc/", "usr/share/pixmaps/", "usr/share/applications/"),
    *("usr/lib/systemd/", "usr/lib/tmpfiles.d/", "usr/lib/sysusers.d/", "usr/lib/udev/"),
    *(
        "etc/init.d/",
        "etc/cron.d/",
        "etc/cron.daily/",
        "etc/logrotate.d/",
        "usr/share/initramfs-tools/",
    ),
)
_SHARED = 0o1000


class Deb(NamedTuple):
    """A package. control: its paragraph of fields, as it stands in the package."""

    control: bytes
    entries: tuple[Entry, ...]


def read_deb(content: bytes, subject: str) -> Deb:
    """Return what a package holds; raises ImageError, in which `subject` names it."""
    members = dict(_ar_members(content, subject))
    if members.get("debian-binary") != _FORMAT:
        raise ImageError(f"{subject}: not a Debian package of format 2.0")
    control = _files(_archive(members, "control.tar", subject), subject)
    if "control" not in control:
        raise ImageError(f"{subject}: it has no control file")
    entries = tuple(_entries(_archive(members, "data.tar", subject), subject))
    return Deb(control=control["control"], entries=entries)


def _ar_members(content: bytes, subject: str) -> Iterator[tuple[str, bytes]]:
    if not content.startswith(_AR_MAGIC):
        raise ImageError(f"{subject}: not a Debian package")
    at = len(_AR_MAGIC)
    while at < len(content):
        header = content[at : at + _AR_HEADER_BYTES]
        size = header[48:58].strip()
        at += _AR_HEADER_BYTES
        if header[58:] != _AR_END or not size.isdigit() or at + int(size) > len(content):
            raise ImageError(f"{subject}: the archive of its members is damaged")
        yield header[:16].decode("latin-1").rstrip(" ").rstrip("/"), content[at : at + int(size)]
        at += int(size) + int(size) % 2  # members begin at even places


def _archive(members: Mapping[str, bytes], prefix: str, subject: str) -> tarfile.TarFile:
    found = [name for name in members if name == prefix or name.startswith(f"{prefix}.")]
    if len(found) != 1:
        raise ImageError(f"{subject}: found {len(found)} members {prefix}, wanted one")
    try:
        unpacked = _decompressed(io.BytesIO(members[found[0]]))
        if len(unpacked) > _MAX_UNPACKED_BYTES:
            raise ImageError(f"{subject}: unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
        return tarfile.open(fileobj=io.BytesIO(unpacked), mode="r:")
    except (ArchiveError, lzma.LZMAError, tarfile.TarError, EOFError) as err:
        raise ImageError(f"{subject}: {found[0]} is damaged: {err}") from err


def _decompressed(stream: BinaryIO) -> bytes:
    start = stream.read(len(_XZ_MAGIC))
    stream.seek(0)
    if start == _XZ_MAGIC:
        with lzma.open(stream) as unpacked:
            return unpacked.read(_MAX_UNPACKED_BYTES + 1)
    return _read_all(decompressed(stream))


def _read_all(stream: io.RawIOBase | BinaryIO) -> bytes:
    # The streams of layers return short pieces.
    pieces, size = [], 0
    while size <= _MAX_UNPACKED_BYTES and (piece := stream.read(1 << 18)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _files(archive: tarfile.TarFile, subject: str) -> dict[str, bytes]:
    return {
        "/".join(member_path(member.name, subject)): _content(archive, member, subject)
        for member in _members(archive, subject)
        if member.isfile()
    }


def _members(archive: tarfile.TarFile, subject: str) -> Iterator[tarfile.TarInfo]:
    try:
        yield from archive
    except tarfile.TarError as err:
        raise ImageError(f"{subject}: the archive of its files is damaged: {err}") from err


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, subject: str) -> bytes:
    try:
        stream = archive.extractfile(member)
    except (KeyError, tarfile.TarError) as err:
        raise ImageError(f"{subject}: {member.name!r} links to nothing") from err
    if stream is None:
        raise ImageError(f"{subject}: {member.name!r} is not a file")
    return stream.read()


def _entries(archive: tarfile.TarFile, subject: str) -> Iterator[Entry]:
    for member in _members(archive, subject):
        parts = member_path(member.name, subject)
        if not parts:
            continue
        if len(parts) > 1 and parts[0] in _MERGED:
            parts = ("usr", *parts)
        path = "/".join(parts)
        if _is_unused(path):
            continue
        if member.isdir():
            yield Entry(path=path, is_folder=True, is_shared=bool(member.mode & _SHARED))
        elif member.issym():
            yield Entry(path=path, link=member.linkname)
        elif member.isfile() or member.islnk():
            content = _content(archive, member, subject)
            yield Entry(path=path, content=content, executable=bool(member.mode & 0o100))
        else:
            raise ImageError(f"{subject}: {member.name!r} is neither file, folder nor link")


def _is_unused(path: str) -> bool:
    if path.startswith("usr/share/doc/") and path.endswith("/copyright"):
        return False
    return f"{path}/".startswith(_UNUSED)
