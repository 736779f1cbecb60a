"""Read the members of a tar archive as container runtimes do, in bounded memory.

Rules, each with a test:
- the headers of one member take at most 1 MiB, as in Go's reader; sizes are those of numbers below 2^63;
- global PAX headers are ignored, as runtimes ignore them: with them, an archive could show us other files than a node;
- members that runtimes read in different ways are refused: sparse files in the PAX form, and folders or links with content;
- names are bytes; those that are not UTF-8 come with surrogates.

Source: POSIX.1-2017, "ustar" and "pax" of `pax`; GNU tar, "Basic Tar Format"; Go's archive/tar, which containerd uses.
"""

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
MAX_HEADER_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 16
_MAX_SIZE = 2**63 - 1
_MAX_DIGITS = 19  # of a number below 2^63
_CHECKSUM = slice(148, 156)
_GNU_MAGIC = b"ustar  \0"
_USTAR_MAGIC = b"ustar\0"
_STAR_TRAILER = b"tar\0"
_MORE_SPARSE = 504  # in an extension block, whether another one follows


class Kind(enum.Enum):
    """What a member is; OTHER: devices, FIFOs and everything that has no meaning in a layer."""

    FILE = enum.auto()
    SPARSE = enum.auto()
    FOLDER = enum.auto()
    SYMLINK = enum.auto()
    HARDLINK = enum.auto()
    OTHER = enum.auto()


_KINDS = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"S": Kind.SPARSE,
    b"5": Kind.FOLDER,
    b"2": Kind.SYMLINK,
    b"1": Kind.HARDLINK,
}
_WITHOUT_CONTENT = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_LINK = b"x", b"g", b"L", b"K"
_EXTENSIONS = frozenset({_PAX, _GLOBAL_PAX, _LONG_NAME, _LONG_LINK})


class ArchiveError(Exception):
    """The archive is damaged, or runtimes would disagree about what it holds."""


class Content:
    """What a member holds; it can be read until the next member is taken."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self._left = size_bytes
        self._padding = -size_bytes % _BLOCK

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, all that are left for -1, b"" at the end; raises ArchiveError."""
        if size < 0:
            return b"".join(iter(lambda: self.read(_CHUNK_BYTES), b""))
        wanted = min(size, self._left)
        chunk = self._stream.read(wanted)
        if len(chunk) < wanted:
            raise ArchiveError("it ends inside of a member")
        self._left -= len(chunk)
        return chunk

    def skip(self) -> None:
        """Read to the end of the member and its padding."""
        self._left += self._padding
        self._padding = 0
        while self._left:
            self.read(_CHUNK_BYTES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member; link: where a link points, as written; mode: permission bits.

    header, records: what else its header has, for those who unpack files with their owners.
    """

    name: str
    kind: Kind
    size_bytes: int
    mode: int
    link: str
    content: Content
    header: bytes
    records: Mapping[bytes, bytes]

    @property
    def owner(self) -> tuple[int, int]:
        """Return the numbers of user and group; raises ArchiveError."""
        fields = ((b"uid", slice(108, 116)), (b"gid", slice(116, 124)))
        uid, gid = (
            _decimal(self.records[name]) if self.records.get(name) else _number(self.header[field])
            for name, field in fields
        )
        return uid, gid

    @property
    def mtime_s(self) -> int:
        """Return the time of the last change in seconds since 1970, 0 for an earlier one; raises ArchiveError."""
        record = self.records.get(b"mtime", b"").partition(b".")[0]
        if record:
            return _decimal(record) if record.isdigit() else 0
        # The two highest bits of a number to the base 256: that it is one, and its sign.
        return 0 if self.header[136] & 0xC0 == 0xC0 else _number(self.header[136:148])  # noqa: PLR2004

    @property
    def capabilities(self) -> bytes:
        """Return the extended attribute `security.capability`, b"" for none."""
        return self.records.get(b"SCHILY.xattr.security.capability", b"")


def read_members(stream: BinaryIO) -> Iterator[Member]:
    """Yield the members of the archive in `stream`, whose `read` must return all it is asked for; raises ArchiveError."""
    while (member := _next_member(stream)) is not None:
        yield member
        member.content.skip()


def _next_member(stream: BinaryIO) -> Member | None:
    records: dict[bytes, bytes] = {}
    names: dict[bytes, bytes] = {}
    left = MAX_HEADER_BYTES
    while True:
        block = _read_header(stream)
        if block is None and not (records or names):
            return None
        if block is None:
            raise ArchiveError("it ends after the header of a member")
        kind, size_bytes = block[156:157], _number(block[124:136])
        if kind not in _EXTENSIONS:
            return _member(block, names, records, stream, left)
        left -= _BLOCK + size_bytes
        if left < 0:
            raise _too_large()
        content = Content(stream, size_bytes)
        extension = content.read()
        content.skip()
        if kind == _PAX:
            records = _pax_records(extension)
        elif kind != _GLOBAL_PAX:
            names[kind] = _text(extension)


def _read_header(stream: BinaryIO) -> bytes | None:
    """Return the next header, None at the end: the stream's, or one or two blocks of zeros."""
    block = stream.read(_BLOCK)
    if block == _ZEROS:
        block = stream.read(_BLOCK)
        if block and block != _ZEROS:
            raise ArchiveError("it goes on after a block of zeros")
        return None
    if not block:
        return None
    if len(block) < _BLOCK:
        raise ArchiveError("it ends inside of a header")
    rest = block[: _CHECKSUM.start] + b" " * 8 + block[_CHECKSUM.stop :]
    # Old programs take the bytes as signed.
    if _number(block[_CHECKSUM]) not in {sum(rest), sum(memoryview(rest).cast("b"))}:
        raise ArchiveError("a header has another checksum")
    return block


def _member(
    block: bytes,
    names: dict[bytes, bytes],
    records: dict[bytes, bytes],
    stream: BinaryIO,
    left: int,
) -> Member:
    flag = block[156:157]
    name = names.get(_LONG_NAME) or records.get(b"path") or _full_name(block)
    link = names.get(_LONG_LINK) or records.get(b"linkpath") or _text(block[157:257])
    if any(key.startswith(b"GNU.sparse.") for key in records):
        raise ArchiveError(f"{_shown(name)} is a sparse file in the PAX form")
    size_bytes = _decimal(records[b"size"]) if records.get(b"size") else _number(block[124:136])
    if size_bytes and flag in _WITHOUT_CONTENT:
        raise ArchiveError(f"{_shown(name)} is no file and has content")
    kind = _KINDS.get(flag, Kind.OTHER)
    if flag == b"\0" and name.endswith(b"/"):
        kind = Kind.FOLDER
    if kind is Kind.SPARSE:
        _skip_sparse_map(block, stream, left)
    return Member(
        name=name.decode(errors="surrogateescape"),
        kind=kind,
        size_bytes=size_bytes,
        mode=_number(block[100:108]) & 0o7777,
        link=link.decode(errors="surrogateescape"),
        content=Content(stream, size_bytes),
        header=block,
        records=records,
    )


def _skip_sparse_map(block: bytes, stream: BinaryIO, left: int) -> None:
    """Skip the blocks that continue the map of a sparse file, which lie before its content."""
    more = block[482]
    while more:
        left -= _BLOCK
        if left < 0:
            raise _too_large()
        extension = stream.read(_BLOCK)
        if len(extension) < _BLOCK:
            raise ArchiveError("it ends inside of a header")
        more = extension[_MORE_SPARSE]


def _full_name(block: bytes) -> bytes:
    name = _text(block[:100])
    prefix = b""
    if block[257:263] == _USTAR_MAGIC:
        prefix = _text(block[345:476] if block[508:512] == _STAR_TRAILER else block[345:500])
    elif block[257:265] == _GNU_MAGIC and not _has_gnu_times(block):
        # Go before 1.8 wrote a prefix in archives of this form too, where there are two times. Source: Go's archive/tar.
        prefix = _text(block[345:500])
        prefix = prefix if prefix.isascii() else b""
    return prefix + b"/" + name if prefix else name


def _has_gnu_times(block: bytes) -> bool:
    try:
        for field in (block[345:357], block[357:369]):
            if field[0]:
                _number(field)
    except ArchiveError:
        return False
    return True


def _pax_records(content: bytes) -> dict[bytes, bytes]:
    """Return the records `<length> <key>=<value>` and a newline; the length is that of the whole record."""
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(content):
        space = content.find(b" ", at, at + _MAX_DIGITS + 1)
        end = at + _decimal(content[at:space]) if space > at else at
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        is_whole = space < end <= len(content) and content[end - 1 : end] == b"\n"
        if not is_whole or not equals or not key or b"\0" in key:
            raise ArchiveError("a PAX header is malformed")
        records[key] = value
        at = end
    return records


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _decimal(text: bytes) -> int:
    if not text.isdigit() or len(text) > _MAX_DIGITS or int(text) > _MAX_SIZE:
        raise ArchiveError("a header has a size that is none")
    return int(text)


def _number(field: bytes) -> int:
    """Return a number from octal digits between blanks, or from base 256, which the first bit tells."""
    if field[0] & 0x80:
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:])
        if field[0] & 0x40 or value > _MAX_SIZE:
            raise ArchiveError("a header has a number that is negative or too large")
        return value
    digits = _text(field.strip(b" \0")).strip(b" ")
    if digits.strip(b"01234567"):
        raise ArchiveError("a header has a number that is none")
    return int(digits or b"0", 8)


def _too_large() -> ArchiveError:
    return ArchiveError(f"the headers of a member have more than {MAX_HEADER_BYTES} bytes")


def _shown(name: bytes) -> str:
    return ascii(name[:200].decode(errors="surrogateescape"))
