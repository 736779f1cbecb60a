"""A strict reader for the part of DER that AMD's certificates use, and a writer.

`cryptography` warns that it will refuse their serial number 0, so it cannot be used. Every encoding except the shortest
definite form is refused. Source: ITU-T X.690, RFC 5280.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from contrast_tasks.attestation.errors import MalformedEvidence

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, IA5_STRING = 0x0C, 0x13, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31

_LONG = 0x80
_SIGN = 0x80
_MAX_LENGTH_BYTES = 3
# The longest identifier in these certificates has 11; the bound keeps its numbers small.
_MAX_OID_BYTES = 64


class Element(NamedTuple):
    """One element; `encoded` is its content with tag and length."""

    tag: int
    content: bytes
    encoded: bytes


def elements(content: bytes) -> Iterator[Element]:
    """Yield the elements of which `content` is the concatenation; raises MalformedEvidence."""
    position = 0
    while position < len(content):
        element, position = _read(content, position)
        yield element


def only(content: bytes, tag: int) -> Element:
    """Return the one element that `content` is; raises MalformedEvidence for another tag or trailing bytes."""
    element, end = _read(content, 0)
    if end != len(content):
        raise _malformed("trailing bytes")
    return expect(element, tag)


def expect(element: Element, tag: int) -> Element:
    """Return `element`; raises MalformedEvidence for another tag."""
    if element.tag != tag:
        raise _malformed(f"tag {element.tag:#04x}, wanted {tag:#04x}")
    return element


def unsigned(element: Element) -> int:
    """Return the value of a non-negative INTEGER in its shortest form."""
    content = expect(element, INTEGER).content
    padded = len(content) > 1 and content[0] == 0 and content[1] < _SIGN
    if not content or content[0] >= _SIGN or padded:
        raise _malformed("an integer that is negative or not in its shortest form")
    return int.from_bytes(content, "big")


def boolean(element: Element) -> bool:
    """Return the value of a BOOLEAN, which DER encodes as 00 or FF."""
    content = expect(element, BOOLEAN).content
    if content not in {b"\0", b"\xff"}:
        raise _malformed("a boolean that is neither 00 nor ff")
    return content == b"\xff"


def oid(element: Element) -> str:
    """Return the dotted text of an OBJECT IDENTIFIER."""
    content = expect(element, OID).content
    if not content or content[-1] & _LONG:
        raise _malformed("an unfinished object identifier")
    if len(content) > _MAX_OID_BYTES:
        raise _malformed(
            f"an object identifier of {len(content)} bytes, wanted at most {_MAX_OID_BYTES}"
        )
    arcs, value = [], 0
    for byte in content:
        if not value and byte == _LONG:
            raise _malformed("an object identifier that is not in its shortest form")
        value = value << 7 | byte & 0x7F
        if not byte & _LONG:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, [first, arcs[0] - first * 40, *arcs[1:]]))


def text(element: Element) -> str:
    """Return the text of a UTF8String, PrintableString or IA5String."""
    if element.tag not in {UTF8_STRING, PRINTABLE_STRING, IA5_STRING}:
        raise _malformed(f"tag {element.tag:#04x}, wanted a string")
    try:
        return element.content.decode("utf-8" if element.tag == UTF8_STRING else "ascii")
    except UnicodeDecodeError as err:
        raise _malformed("a string in another encoding") from err


def instant(element: Element) -> datetime:
    """Return the time of a UTCTime or GeneralizedTime that has seconds and ends in `Z`."""
    formats = {UTC_TIME: ("%y%m%d%H%M%SZ", 13), GENERALIZED_TIME: ("%Y%m%d%H%M%SZ", 15)}
    if element.tag not in formats:
        raise _malformed(f"tag {element.tag:#04x}, wanted a time")
    pattern, length = formats[element.tag]
    digits = element.content[:-1]
    if len(element.content) != length or not digits.isdigit():
        raise _malformed("a time that is not in the short form with seconds")
    try:
        moment = datetime.strptime(element.content.decode(), pattern).replace(tzinfo=UTC)
    except ValueError as err:
        raise _malformed("a time that does not exist") from err
    # RFC 5280: two-digit years from 50 are 19YY; strptime splits at 69.
    if element.tag == UTC_TIME and int(digits[:2]) >= 50 and moment.year >= 2000:  # noqa: PLR2004
        moment = moment.replace(year=moment.year - 100)
    return moment


def bits(element: Element) -> bytes:
    """Return the bytes of a BIT STRING without unused bits."""
    content = expect(element, BIT_STRING).content
    if not content or content[0] != 0:
        raise _malformed("a bit string with unused bits")
    return content[1:]


def encode(tag: int, *contents: bytes) -> bytes:
    """Return one element in DER."""
    content = b"".join(contents)
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + content


def encode_integer(value: int) -> bytes:
    """Return a non-negative INTEGER in DER."""
    return encode(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _read(source: bytes, position: int) -> tuple[Element, int]:
    if position + 2 > len(source):
        raise _malformed("it ends in the middle")
    tag, size = source[position], source[position + 1]
    start = position + 2
    if tag & 0x1F == 0x1F:  # noqa: PLR2004  # announces a multi-byte tag
        raise _malformed("a multi-byte tag")
    if size & _LONG:
        count = size & 0x7F
        length = source[start : start + count]
        if not 0 < count <= _MAX_LENGTH_BYTES or len(length) != count or not length[0]:
            raise _malformed("a length that is indefinite, too large or not in its shortest form")
        size = int.from_bytes(length, "big")
        start += count
        if size < _LONG:
            raise _malformed("a length that is not in its shortest form")
    end = start + size
    if end > len(source):
        raise _malformed("it ends in the middle")
    return Element(tag, source[start:end], source[position:end]), end


def _malformed(what: str) -> MalformedEvidence:
    return MalformedEvidence(
        f"the certificate is not DER as expected: {what}", reason="certificate-form"
    )
