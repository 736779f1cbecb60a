"""Read tar headers as the layer snapshotter of AKS does, from pieces of an archive as they come.

The snapshotter has rules of its own for names, numbers and sizes, and a layer's root hash follows from them; `tarfile` reads
some archives differently. Source: docs/internals/aks.md 2.6.
"""

import re
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import NamedTuple

BLOCK_BYTES = 512
# Of what describes the next member. More is never needed: the kernel's limit for a path is 4,096 bytes.
MAX_EXTENSION_BYTES = 1 << 20
_MAX_SPARSE_BLOCKS = 1 << 12
_LINK = 157  # where the link field of a header starts
_NAMES = {b"L": "long names", b"K": "long link targets", b"x": "sets of PAX records"}
_USTAR, _GNU = b"ustar\x0000", b"ustar  \0"
# The white space that the snapshotter trims; Python's `strip` knows more.
_SPACE = "\t\n\v\f\r \u0085\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
_OCTAL = re.compile(r"\+?[0-7]+", re.ASCII)
_DECIMAL = re.compile(rb"\+?[0-9]+")
_U64 = 1 << 64
_SHORT_FIELD = 8

Ask = tuple[str, int]
"""What the parser wants next: ("read", bytes) or ("skip", bytes)."""
Record = tuple[bytes, bytes]
"""Key and value of a PAX record."""


class DamagedTar(ValueError):
    """The archive cannot be read; the message says why."""


class TarMember(NamedTuple):
    """One member of an archive.

    kind: the header's type, one byte. target: of a link, None if it has none; header_link: as much of it as the header has.
    position: of the header, data: of the content, both in bytes. mode: None if unreadable. device: (major, minor), None if
    the header has none. keys: of its PAX records.
    """

    kind: bytes
    name: bytes
    target: bytes | None
    header_link: bytes
    size: int
    position: int
    data: int
    mode: int | None
    uid: int
    gid: int
    mtime: int
    device: tuple[int, int] | None
    keys: frozenset[bytes]

    @property
    def link_position(self) -> int:
        """Return where in the archive the link field of the header is, in bytes."""
        return self.position + _LINK


class TarPieces:
    """An archive that is given piece by piece; `visit` is called for each member."""

    def __init__(self, visit: Callable[[TarMember], None]) -> None:
        self._parser = _members(visit)
        self._buffer = bytearray()
        self._ask: Ask | None = next(self._parser)

    def update(self, piece: bytes) -> None:
        """Take the next bytes; raises DamagedTar."""
        place, end = 0, len(piece)
        while self._ask is not None and place < end:
            verb, count = self._ask
            if verb == "skip":
                step = min(count, end - place)
                place += step
                self._ask = ("skip", count - step) if step < count else self._sent(b"")
                continue
            taken = piece[place : place + count - len(self._buffer)]
            place += len(taken)
            if len(taken) == count:
                self._ask = self._sent(taken)
                continue
            self._buffer += taken
            if len(self._buffer) == count:
                whole = bytes(self._buffer)
                self._buffer.clear()
                self._ask = self._sent(whole)

    def finish(self) -> None:
        """End the archive; raises DamagedTar if it ends inside a member."""
        if self._ask is None:
            return
        if self._buffer or self._ask != ("read", BLOCK_BYTES):
            raise DamagedTar("it ends inside a member")
        self._sent(b"")

    def _sent(self, content: bytes) -> Ask | None:
        try:
            return self._parser.send(content)
        except StopIteration:
            return None


def _members(visit: Callable[[TarMember], None]) -> Generator[Ask, bytes, None]:
    """Yield what to read or skip, and receive what was read; b"" instead of a header is the end of the archive."""
    position = 0
    extensions: dict[bytes, bytes] = {}
    while any(header := (yield ("read", BLOCK_BYTES))):
        _check_sum(header)
        start, data = position, position + BLOCK_BYTES
        kind, is_recent = header[156:157], header[257:265] in (_USTAR, _GNU)
        records = tuple(_records(extensions.get(b"x", b"")))
        size = _size(header, records)
        padded = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        position = data + padded
        if kind in _NAMES and is_recent:
            if kind in extensions:
                raise DamagedTar(f"a member has two {_NAMES[kind]}")
            if size > MAX_EXTENSION_BYTES:
                limit = f"at most {MAX_EXTENSION_BYTES} are read"
                raise DamagedTar(f"a member has {_NAMES[kind]} of {size} bytes, {limit}")
            extensions[kind] = (yield ("read", padded))[:size] if padded else b""
            continue
        if kind == b"S":
            position += yield from _sparse_map(header, size)
        visit(_member(header, size, start, extensions, records))
        extensions.clear()
        if padded:
            yield ("skip", padded)
    if extensions:
        raise DamagedTar("it ends where a member should follow its long name")


def _check_sum(header: bytes) -> None:
    # The field itself counts as eight blanks.
    found = sum(header) - sum(header[148:156]) + 8 * 0x20
    if _octal(header[148:156]) != found:
        raise DamagedTar("a header has a wrong checksum")


def _size(header: bytes, records: tuple[Record | None, ...]) -> int:
    """Return the size of a member's data in bytes: that of PAX only if the header has none."""
    size = _number(header[124:136])
    if size is None or size + BLOCK_BYTES > _U64:
        raise DamagedTar("a member has an unreadable size")
    return size or _pax_size(records)


def _pax_size(records: tuple[Record | None, ...]) -> int:
    for record in records:
        if record is None:
            return 0  # nothing behind a malformed record counts here
        if record[0] == b"size":
            size = int(record[1]) if _DECIMAL.fullmatch(record[1]) else _U64
            return size if size < _U64 else 0
    return 0


def _member(
    header: bytes,
    size: int,
    position: int,
    extensions: Mapping[bytes, bytes],
    records: tuple[Record | None, ...],
) -> TarMember:
    magic = header[257:265]
    name, link = _until_nul(header[:100]), _until_nul(header[157:257])
    if magic == _USTAR and (prefix := _until_nul(header[345:500])):
        name = prefix + b"/" + name
    long_name = _described(extensions.get(b"L"), records, b"path")
    long_link = _described(extensions.get(b"K"), records, b"linkpath")
    numbers = (_octal(header[329:337]), _octal(header[337:345]))
    device = None
    if magic in (_USTAR, _GNU) and numbers[0] is not None and numbers[1] is not None:
        device = (numbers[0] & 0xFFFFFFFF, numbers[1] & 0xFFFFFFFF)
    return TarMember(
        kind=header[156:157],
        name=name if long_name is None else long_name,
        target=(link or None) if long_link is None else long_link,
        header_link=link,
        size=size,
        position=position,
        data=position + BLOCK_BYTES,
        mode=_octal(header[100:108]),
        uid=_number(header[108:116]) or 0,
        gid=_number(header[116:124]) or 0,
        mtime=_number(header[136:148]) or 0,
        device=device,
        keys=frozenset(record[0] for record in records if record),
    )


def _described(
    extension: bytes | None, records: tuple[Record | None, ...], key: bytes
) -> bytes | None:
    """Return what the members before say about a name: GNU first, then the first PAX record; None if nothing."""
    if extension is not None:
        return extension.removesuffix(b"\0")
    return next((record[1] for record in records if record and record[0] == key), None)


def _records(text: bytes) -> Iterator[Record | None]:
    """Yield PAX records, None for a malformed one; they end at an empty line."""
    for line in text.split(b"\n"):
        if not line:
            return
        length, blank, rest = line.partition(b" ")
        key, equals, value = rest.partition(b"=")
        is_whole = blank and equals and _DECIMAL.fullmatch(length) and len(length) <= len(str(_U64))
        yield (key, value) if is_whole and int(length) == len(line) + 1 else None


def _sparse_map(header: bytes, size: int) -> Generator[Ask, bytes, int]:
    """Read the map of a sparse file, which the snapshotter checks before it leaves the file out; return its bytes.

    Source: GNU tar, "Storing Sparse Files"; docs/internals/aks.md 2.6.
    """
    if header[257:265] != _GNU:
        raise DamagedTar("a sparse file has no GNU header")
    end, left, blocks = 0, size, 0
    pieces, is_extended = header[386:482], header[482]
    while True:
        for place in range(0, len(pieces), 24):
            end, left = _sparse_piece(pieces[place : place + 24], end, left, size)
        if not is_extended:
            break
        blocks += 1
        if blocks > _MAX_SPARSE_BLOCKS:
            raise DamagedTar(f"a sparse file has a map of more than {_MAX_SPARSE_BLOCKS} blocks")
        block = yield ("read", BLOCK_BYTES)
        pieces, is_extended = block[:504], block[504]
    if left or _number(header[483:495]) != end:
        raise DamagedTar("a sparse file has a map that contradicts its size")
    return blocks * BLOCK_BYTES


def _sparse_piece(field: bytes, end: int, left: int, size: int) -> tuple[int, int]:
    """Return where a piece of a sparse file ends, and the bytes of data behind it."""
    if field[0] == 0 or field[12] == 0:
        return end, left
    offset, length = _number(field[:12]), _number(field[12:])
    if offset is None or length is None or length > left or offset < end:
        raise DamagedTar("a sparse file has pieces that overlap or are longer than its data")
    if length and (size - left) % BLOCK_BYTES:
        raise DamagedTar("a sparse file has a piece that does not start in a block of its own")
    return offset + length, left - length


def _until_nul(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _octal(field: bytes) -> int | None:
    """Return an octal number of 64 bits up to the first NUL, None if it is unreadable."""
    try:
        text = _until_nul(field).decode().strip(_SPACE)
    except UnicodeDecodeError:
        return None
    value = int(text, 8) if _OCTAL.fullmatch(text) else _U64
    return value if value < _U64 else None


def _number(field: bytes) -> int | None:
    """Return a number, octal or binary: in eight bytes all but the first bit, in twelve the last eight bytes."""
    if not field[0] & 0x80:
        return _octal(field)
    if len(field) == _SHORT_FIELD:
        return int.from_bytes(field, "big") ^ (1 << 63)
    return int.from_bytes(field[-8:], "big")
