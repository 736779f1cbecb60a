"""Mutations of input for parsers: of bytes, and of structures in DER, protobuf, JSON and fixed layouts.

A mutation of a structure keeps the enclosing lengths correct, so that it passes the outer parsers and reaches the inner one.
"""

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Self

Mutate = Callable[[Random, bytes], bytes]

_INTERESTING = (b"\0", b"\xff", b"\x80", b"\x7f", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff" * 8)
_CONSTRUCTED = 0x20
_OCTET_STRING, _BIT_STRING = 0x04, 0x03


def by_bytes(source: Random, content: bytes) -> bytes:
    """Return `content` after one to three random changes of bytes."""
    changed = bytearray(content)
    for _ in range(source.randint(1, 3)):
        at = source.randrange(len(changed) or 1)
        match source.randrange(7):
            case 0 if changed:
                changed[at] ^= 1 << source.randrange(8)
            case 1:
                piece = source.choice(_INTERESTING)
                changed[at : at + len(piece)] = piece
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + source.randint(1, 64)]
            case 4:
                changed[at:at] = source.randbytes(source.randint(1, 64))
            case 5:
                piece = bytes(changed[at : at + source.randint(1, 256)])
                where = source.randrange(len(changed) or 1)
                changed[where:where] = piece
            case _:
                other = source.randrange(len(changed) or 1)
                width = source.randint(1, 16)
                changed[at : at + width], changed[other : other + width] = (
                    changed[other : other + width],
                    changed[at : at + width],
                )
    return bytes(changed)


def by_layout(*boundaries: int) -> Mutate:
    """Return a mutation that overwrites, drops or repeats whole fields; `boundaries` are their offsets."""

    def mutate(source: Random, content: bytes) -> bytes:
        index = source.randrange(len(boundaries))
        start = boundaries[index]
        end = boundaries[index + 1] if index + 1 < len(boundaries) else len(content)
        field = content[start:end]
        match source.randrange(5):
            case 0:
                field = bytes(len(field))
            case 1:
                field = b"\xff" * len(field)
            case 2:
                field = source.randbytes(len(field))
            case 3:
                field = field[::-1]
            case _:
                field = source.choice((b"", field + field, field[:-1], field + b"\0"))
        return content[:start] + field + content[end:]

    return mutate


def by_der(source: Random, content: bytes) -> bytes:
    """Return DER with one element changed, dropped, repeated or encoded in BER, and correct enclosing lengths."""
    tree = _elements(content)
    places = list(_places(tree))
    if not places:
        return by_bytes(source, content)
    siblings, index = source.choice(places)
    node = siblings[index]
    match source.randrange(9):
        case 0:
            del siblings[index]
        case 1:
            siblings.insert(index, node)
        case 2:
            other = source.randrange(len(siblings))
            siblings[index], siblings[other] = siblings[other], siblings[index]
        case 3:
            siblings[index] = (source.randrange(256), node[1])
        case 4:
            siblings[index] = (node[0], source.randbytes(source.choice((0, 1, 8, 127, 128, 300))))
        case 5:
            siblings[index] = (node[0], source.choice(_INTERESTING))
        case 6:
            siblings[index] = _Raw(_long_length(node))
        case 7:
            siblings[index] = _Raw(bytes((node[0], 0x80)) + _encoded(node[1]) + b"\0\0")
        case _:
            siblings[index] = (6, b"\x2b" + b"\x81" * source.choice((1, 60, 3000)) + b"\x01")
    return _encoded(tree)


class _Raw(tuple):  # type: ignore[type-arg]
    """An element that is already encoded, not in DER."""

    __slots__ = ()

    def __new__(cls, encoded: bytes) -> Self:
        return super().__new__(cls, (None, encoded))


def _elements(content: bytes) -> list[Any]:
    """Return [(tag, bytes or elements)], empty unless all of `content` is DER."""
    found: list[Any] = []
    at = 0
    while at < len(content):
        if at + 2 > len(content) or content[at] & 0x1F == 0x1F:
            return []
        tag, size = content[at], content[at + 1]
        at += 2
        if size & 0x80:
            width = size & 0x7F
            size = int.from_bytes(content[at : at + width], "big")
            at += width
        value = content[at : at + size]
        if len(value) != size:
            return []
        at += size
        inner: list[Any] = []
        if tag & _CONSTRUCTED or tag == _OCTET_STRING:
            inner = _elements(value)
        found.append((tag, inner or value))
    return found


def _places(elements: list[Any]) -> Sequence[tuple[list[Any], int]]:
    found: list[tuple[list[Any], int]] = []
    for index, (_, value) in enumerate(elements):
        found.append((elements, index))
        if isinstance(value, list):
            found += _places(value)
    return found


def _encoded(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    parts = []
    for tag, inner in value:
        content = _encoded(inner)
        parts.append(content if tag is None else bytes((tag,)) + _length(len(content)) + content)
    return b"".join(parts)


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes((size,))
    width = (size.bit_length() + 7) // 8
    return bytes((0x80 | width,)) + size.to_bytes(width, "big")


def _long_length(node: Any) -> bytes:
    content = _encoded(node[1])
    return bytes((node[0], 0x84)) + len(content).to_bytes(4, "big") + content


def by_protobuf(source: Random, content: bytes) -> bytes:
    """Return a protobuf message with one field, at any depth, changed, dropped, repeated, renumbered or of another type."""
    fields = _fields(content)
    if not fields:
        return by_bytes(source, content)
    index = source.randrange(len(fields))
    number, kind, value = fields[index]
    match source.randrange(8):
        case 0:
            del fields[index]
        case 1:
            fields.insert(source.randrange(len(fields)), fields[index])
        case 2:
            fields[index] = (source.choice((0, 1, number + 1, 40, 1 << 28)), kind, value)
        case 3:
            fields[index] = (number, 0, source.choice((0, 1, 255, 256, 1 << 32, (1 << 64) - 1)))
        case 4:
            fields[index] = (number, 2, source.randbytes(source.choice((0, 1, 47, 49, 513))))
        case 5:
            fields[index] = (number, 5, b"\xff" * 4)
        case _ if kind == 2:
            deeper = by_protobuf if _fields(value) else by_bytes
            fields[index] = (number, kind, deeper(source, value))
        case _:
            fields[index] = (number, kind, by_bytes(source, value) if kind != 0 else value + 1)
    return b"".join(_field(*one) for one in fields)


def _fields(content: bytes) -> list[tuple[int, int, Any]]:
    """Return [(number, wire type, value)] of what reads as a message throughout, else []."""
    found: list[tuple[int, int, Any]] = []
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        kind, value = key & 7, None
        if kind == 0:
            value, at = _varint(content, at)
        elif kind == 2:
            size, at = _varint(content, at)
            value = content[at : at + size]
            at += size
            if len(value) != size:
                return []
        else:
            return []
        if at > len(content) or not key >> 3:
            return []
        found.append((key >> 3, kind, value))
    return found


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return value, at
    return value, at + 1


def _field(number: int, kind: int, value: Any) -> bytes:
    head = _rendered_varint(number << 3 | kind)
    if kind == 0:
        return head + _rendered_varint(value)
    return head + (_rendered_varint(len(value)) if kind == 2 else b"") + value


def _rendered_varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append(value & 0x7F | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


_VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 256, 65536, 1 << 64, 0.5, float("inf"), "", "\ud800", "zz", "00", "\u0661\u0662", [], {}, [[]], "UpToDate", "Revoked",
)  # fmt: skip


def by_json(source: Random, content: bytes) -> bytes:
    """Return JSON with one value, at any depth, of another type or range, or a member dropped, repeated or renamed."""
    document = json.loads(content)
    places = list(_members(document))
    holder, key = source.choice(places)
    match source.randrange(6):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[f"{key} "] = holder.pop(key)
        case 1 | 2 if isinstance(holder, list):
            holder.insert(0, holder[key])
        case 3 if isinstance(holder[key], str):
            holder[key] = by_bytes(source, holder[key].encode()).decode("latin-1")
        case 4:
            return _repeated(source, content)
        case _:
            holder[key] = source.choice(_VALUES)
    return json.dumps(document, separators=(",", ":")).encode()


def _repeated(source: Random, content: bytes) -> bytes:
    """Return JSON in which one member of some object comes a second time, with another value."""
    at = source.choice([index for index, byte in enumerate(content) if byte == ord("{")])
    following = content[at + 1 : content.find(b":", at)]
    return content[: at + 1] + following + b":7," + content[at + 1 :]


def _members(document: Any) -> Sequence[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    if isinstance(document, dict):
        keys: Sequence[Any] = list(document)
    elif isinstance(document, list):
        keys = range(len(document))
    else:
        return found
    for key in keys:
        found.append((document, key))
        found += _members(document[key])
    return found
