r"""Packs: many documents in one compressed object, and once what several have in common.

A pack is one zlib stream over this, all numbers four bytes, big-endian:

    "contrast pack 1\n"
    number of parts, number of documents
    length of each part
    for each document the number of its parts, then their indexes
    the parts, one after the other

A document is its parts, one after the other, and is known by the SHA-256 of that; a pack is known by the SHA-256 of the stream.
Reading needs a bounded amount of memory and time, whatever the stream holds. Source: docs/internals/coordinator.md 8.6.
"""

import hashlib
import struct
import threading
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple
from weakref import WeakValueDictionary

from contrast_tasks.errors import ContrastError
from contrast_tasks.manifest.sizes import MAX_OBJECT_BYTES

MAX_RAW_BYTES = 8 * 1024 * 1024
"""What one stream may hold. A manifest of 10,000 workloads has 3 MB."""
# Whoever shares beginnings only, as we do, hashes each part once.
_MAX_HASHED_BYTES = 2 * MAX_RAW_BYTES
MAX_DOCUMENTS = 16_384
_MAX_REFERENCES = 4 * MAX_DOCUMENTS
_MAGIC = b"contrast pack 1\n"
_NUMBER_BYTES = 4
_LEVEL = 6
# A beginning in common that is shorter costs more than it saves.
_SHORTEST = 256
# Documents stay together as long as the beginning that all share is this part of the longest one that two of them share.
_KEPT = 3 / 4


class BadPack(ContrastError):
    """A pack is malformed or too large; the text quotes nothing of it."""


class DocumentTooLarge(ContrastError):
    """A document does not fit into one pack, however it is compressed."""


@dataclass(frozen=True, slots=True, repr=False)
class Pack:
    """A pack that was read. content: the stream; digest: its SHA-256; sizes: bytes of each document, by its SHA-256 in hex."""

    content: bytes
    digest: bytes
    sizes: Mapping[str, int]

    def documents(self, wanted: Collection[str] | None = None) -> Iterator[tuple[str, bytes]]:
        """Yield hash (hex) and bytes of the wanted documents, of all by default; all callers at one time share what is unpacked."""
        layout = _unpacked(self)
        for name, indexes in zip(self.sizes, layout.documents, strict=True):
            if wanted is None or name in wanted:
                yield name, b"".join(layout.part(index) for index in indexes)


class PackedDocuments(Collection[bytes]):
    """Some documents of packs, put together one after the other whenever somebody goes through them.

    hashes: of the documents (hex). A document that several packs hold is taken from the first.
    """

    def __init__(self, packs: Iterable[Pack], hashes: AbstractSet[str]) -> None:
        self._chosen: list[tuple[Pack, set[str]]] = []
        left = set(hashes)
        for pack in packs:
            if here := left & pack.sizes.keys():
                self._chosen.append((pack, here))
                left -= here
        self.hashes = hashes - left

    def items(self) -> Iterator[tuple[str, bytes]]:
        """Yield hash (hex) and bytes of each document."""
        for pack, hashes in self._chosen:
            yield from pack.documents(hashes)

    def __iter__(self) -> Iterator[bytes]:
        return (content for _, content in self.items())

    def __len__(self) -> int:
        return len(self.hashes)

    def __contains__(self, document: object) -> bool:
        return isinstance(document, bytes) and hashlib.sha256(document).hexdigest() in self.hashes


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _Layout:
    raw: memoryview
    starts: Sequence[int]
    documents: Sequence[Sequence[int]]

    def part(self, index: int) -> memoryview:
        return self.raw[self.starts[index] : self.starts[index + 1]]


# A server may have many slow callers, and each would hold an unpacked stream of its own.
_in_use: WeakValueDictionary[bytes, _Layout] = WeakValueDictionary()
_unpacking = threading.Lock()


def _unpacked(pack: Pack) -> _Layout:
    with _unpacking:
        layout = _in_use.get(pack.digest)
        if layout is None:
            layout = _in_use[pack.digest] = _parse(pack.content)
        return layout


def read_pack(content: bytes) -> Pack:
    """Return a pack from its stream, with what its documents are known by. Raises BadPack."""
    layout = _parse(content)
    begun: dict[int, hashlib._Hash] = {}
    hashed = 0
    sizes: dict[str, int] = {}
    for indexes in layout.documents:
        digest, size = hashlib.sha256(), 0
        for place, index in enumerate(indexes):
            part = layout.part(index)
            size += len(part)
            if place or index not in begun:
                hashed += len(part)
                if hashed > _MAX_HASHED_BYTES:
                    raise BadPack(
                        f"its documents repeat more than {_MAX_HASHED_BYTES} bytes of parts"
                    )
                digest.update(part)
            if not place:
                digest = begun.setdefault(index, digest).copy()
        sizes[digest.hexdigest()] = size
    if len(sizes) != len(layout.documents):
        raise BadPack("it holds a document twice")
    return Pack(content, hashlib.sha256(content).digest(), sizes)


def pack_documents(documents: Iterable[bytes], most: int = MAX_OBJECT_BYTES) -> list[Pack]:
    """Return packs with all the documents, each once; equal documents give equal packs wherever zlib is the same.

    most: bytes of a pack; by default what one stored object may have. Raises DocumentTooLarge.
    """
    packs: list[Pack] = []
    waiting = list(_filled(_grouped(sorted(set(documents)))))
    while waiting:
        groups = waiting.pop(0)
        content = zlib.compress(_render(groups), _LEVEL)
        if len(content) <= most:
            packs.append(_packed(content, groups))
        else:
            waiting[:0] = _halves(groups)
    return packs


class _Group(NamedTuple):
    """Documents that begin in the same way: the beginning, and what follows in each."""

    head: bytes
    tails: Sequence[bytes]


def _grouped(documents: Sequence[bytes]) -> Iterator[_Group]:
    """Yield sorted documents in groups of neighbours."""
    begin, shared, longest = 0, len(documents[0]) if documents else 0, 0
    for place, (one, other) in enumerate(pairwise(documents), start=1):
        length = _common(one, other, shared if place > begin + 1 else len(one))
        longest = max(longest, length)
        if length < max(_SHORTEST, _KEPT * longest):
            yield _group(documents[begin:place], shared)
            begin, shared, longest = place, len(other), 0
        else:
            shared = length
    if documents:
        yield _group(documents[begin:], shared)


def _group(documents: Sequence[bytes], shared: int) -> _Group:
    if len(documents) == 1:
        return _Group(b"", documents)
    return _Group(documents[0][:shared], [document[shared:] for document in documents])


def _common(one: bytes, other: bytes, most: int) -> int:
    """Return how many bytes both begin with, at most `most`."""
    low, high = 0, min(len(one), len(other), most)
    if one[:high] == other[:high]:
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def _filled(groups: Iterable[_Group]) -> Iterator[list[_Group]]:
    """Yield groups, cut where need be, of which each list fits into one stream before it is compressed."""
    room, count, kept = MAX_RAW_BYTES - len(_MAGIC) - 2 * _NUMBER_BYTES, 0, list[_Group]()
    left = room
    for head, tails in groups:
        begin = 0
        needs_head = True
        for place, tail in enumerate(tails):
            # A length, a count and at most two indexes for the document, a length for the head.
            size = len(tail) + 4 * _NUMBER_BYTES
            needed = size + (len(head) + _NUMBER_BYTES if needs_head else 0)
            if (needed > left or count == MAX_DOCUMENTS) and (kept or place > begin):
                if place > begin:
                    kept.append(_Group(head, tails[begin:place]))
                yield kept
                kept, left, count, begin = [], room, 0, place
                needed = size + len(head) + _NUMBER_BYTES
            if needed > left:
                raise _too_large(head, tail)
            left, count, needs_head = left - needed, count + 1, False
        if tails[begin:]:
            kept.append(_Group(head, tails[begin:]))
    if kept:
        yield kept


def _halves(groups: Sequence[_Group]) -> tuple[list[_Group], list[_Group]]:
    """Return the documents of groups in two parts. Raises DocumentTooLarge if there is only one."""
    if len(groups) > 1:
        middle = len(groups) // 2
        return list(groups[:middle]), list(groups[middle:])
    ((head, tails),) = groups
    if len(tails) == 1:
        raise _too_large(head, tails[0])
    middle = len(tails) // 2
    return [_Group(head, tails[:middle])], [_Group(head, tails[middle:])]


def _too_large(head: bytes, tail: bytes) -> DocumentTooLarge:
    return DocumentTooLarge(
        f"a document of {len(head) + len(tail)} bytes does not fit into one object"
    )


def _render(groups: Sequence[_Group]) -> bytes:
    """Return what is compressed; empty parts are left out."""
    parts: list[bytes] = []
    documents: list[list[int]] = []
    for head, tails in groups:
        start = []
        if head:
            start = [len(parts)]
            parts.append(head)
        for tail in tails:
            documents.append([*start, *([len(parts)] if tail else [])])
            if tail:
                parts.append(tail)
    numbers = [len(parts), len(documents), *map(len, parts)]
    for indexes in documents:
        numbers += (len(indexes), *indexes)
    return b"".join((_MAGIC, struct.pack(f">{len(numbers)}I", *numbers), *parts))


def _packed(content: bytes, groups: Iterable[_Group]) -> Pack:
    sizes: dict[str, int] = {}
    for head, tails in groups:
        begun = hashlib.sha256(head)
        for tail in tails:
            digest = begun.copy()
            digest.update(tail)
            sizes[digest.hexdigest()] = len(head) + len(tail)
    return Pack(content, hashlib.sha256(content).digest(), sizes)


def _parse(content: bytes) -> _Layout:
    """Return where everything is; raises BadPack unless the stream is one pack and nothing else, within all bounds."""
    raw = _inflated(content)
    numbers = struct.Struct(">2I")
    at = len(_MAGIC)
    if not raw.startswith(_MAGIC) or len(raw) < at + numbers.size:
        raise BadPack("it is no pack of version 1")
    part_count, document_count = numbers.unpack_from(raw, at)
    at += numbers.size
    # Each is followed by as many numbers, which bounds them before they are read.
    if part_count > _MAX_REFERENCES or document_count > MAX_DOCUMENTS:
        raise BadPack(f"it has {part_count} parts and {document_count} documents")
    lengths = _numbers(raw, at, part_count)
    at += part_count * _NUMBER_BYTES
    documents: list[Sequence[int]] = []
    references = 0
    for _ in range(document_count):
        (count,) = _numbers(raw, at, 1)
        references += count
        if references > _MAX_REFERENCES:
            raise BadPack(f"its documents have more than {_MAX_REFERENCES} parts")
        indexes = _numbers(raw, at + _NUMBER_BYTES, count)
        if indexes and max(indexes) >= part_count:
            raise BadPack("a document has a part that does not exist")
        documents.append(indexes)
        at += (1 + count) * _NUMBER_BYTES
    starts = [at]
    for length in lengths:
        starts.append(starts[-1] + length)
    if starts[-1] != len(raw):
        raise BadPack(f"its parts end at byte {starts[-1]}, it has {len(raw)}")
    return _Layout(memoryview(raw), starts, documents)


def _numbers(raw: bytes, at: int, count: int) -> tuple[int, ...]:
    if at + count * _NUMBER_BYTES > len(raw):
        raise BadPack("it is cut off")
    return struct.unpack_from(f">{count}I", raw, at)


def _inflated(content: bytes) -> bytes:
    stream = zlib.decompressobj()
    try:
        raw = stream.decompress(content, MAX_RAW_BYTES + 1)
    except zlib.error as err:
        raise BadPack("it is no zlib stream, or a damaged one") from err
    if len(raw) > MAX_RAW_BYTES:
        raise BadPack(f"it holds more than {MAX_RAW_BYTES} bytes")
    if not stream.eof or stream.unused_data:
        raise BadPack("it is not one whole zlib stream")
    return raw
