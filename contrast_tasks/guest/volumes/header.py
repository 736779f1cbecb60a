"""The LUKS2 header of an encrypted volume, verified before cryptsetup uses it.

The host owns the device and can write a header of its own, with a cipher that encrypts nothing, or change it between two
reads. So the header is read once, everything in it must be as we write it, and cryptsetup gets that copy. Both headers
of the copy are the verified one: cryptsetup takes the other when one is damaged or older.

    0        primary header: 4096 bytes binary, then JSON up to 16384
    16384    secondary header, the same with another magic
    32768    keyslots
    offset   data, from 16 MiB

Source: docs/internals/runtime.md 7.4; LUKS2 On-Disk Format Specification 1.1, 2.1 (binary header), 3 (JSON).
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Callable
from typing import Any

from contrast_tasks.guest.volumes.errors import VolumeNotOpened
from contrast_tasks.json_text import NotJson, read_json, shown

DATA_OFFSET = 16 << 20
"""Where our own format puts the data."""
HEADER_SIZE = 16384
SECONDARY = HEADER_SIZE
KEYSLOTS = 2 * HEADER_SIZE
KEYSLOTS_SIZE = 1 << 20
"""Bytes of the keyslots' area in our own format."""
MAGIC = b"LUKS\xba\xbe"
SECONDARY_MAGIC = b"SKUL\xba\xbe"

_BINARY_SIZE = 4096
_VERSION = 2
# magic, version, header size, sequence number, label, checksum's name, salt, UUID, subsystem, offset; all big endian.
_FIELDS = struct.Struct(">6sHQQ48s32s64s40s48sQ")
_CHECKSUM_AT, _CHECKSUM_SIZE = 448, 64
_CHECKSUM_NAME = b"sha256".ljust(32, b"\0")
_SECTOR = 4096
# cryptsetup moves the data further back on disks with an unusual geometry.
_LARGEST_OFFSET = 64 << 20
_LARGEST_NUMBER = 2**31


def verify_header(header: bytes) -> int:
    """Return the size of the keyslots' area, in bytes; header: the first 16384 bytes of the device.

    Raises VolumeNotOpened for a damaged header, and for one that differs in anything but salts, costs and sizes from
    what we write, naming what was found and wanted.
    """
    if len(header) != HEADER_SIZE or header[:6] != MAGIC:
        raise _damaged("it does not begin with the magic of LUKS")
    magic, version, size, *_, checksum_name, _, _, _, offset = _FIELDS.unpack_from(header)
    if version != _VERSION:
        raise _refused("version", shown(version), shown(_VERSION))
    if size != HEADER_SIZE:
        raise _refused("header size", shown(size), shown(HEADER_SIZE))
    if offset != 0:
        raise _refused("header offset", shown(offset), "0")
    if checksum_name != _CHECKSUM_NAME:
        found = shown(checksum_name.rstrip(b"\0").decode(errors="replace"))
        raise _refused("checksum algorithm", found, "'sha256'")
    if header != _sealed(header, magic, offset):
        raise _damaged("its checksum is wrong")
    text, _, rest = header[_BINARY_SIZE:].partition(b"\0")
    if any(rest):
        raise _damaged("there is something behind its JSON")
    try:
        document = read_json(text).document
    except NotJson as err:
        raise _damaged(f"its JSON {err}") from err
    _compare(document, _WANTED, "")
    return _keyslots_size(document)


def secondary_of(header: bytes) -> bytes:
    """Return the secondary header that belongs to a verified primary one, 16384 bytes."""
    return _sealed(header, SECONDARY_MAGIC, SECONDARY)


def _sealed(header: bytes, magic: bytes, offset: int) -> bytes:
    """Return a header with this magic, this offset, and the checksum over all of it."""
    _, *fields, _ = _FIELDS.unpack_from(header)
    changed = bytearray(header)
    _FIELDS.pack_into(changed, 0, magic, *fields, offset)
    place = slice(_CHECKSUM_AT, _CHECKSUM_AT + _CHECKSUM_SIZE)
    changed[place] = bytes(_CHECKSUM_SIZE)
    changed[place] = hashlib.sha256(changed).digest().ljust(_CHECKSUM_SIZE, b"\0")
    return bytes(changed)


Wanted = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return type(value) is int and 0 < value < _LARGEST_NUMBER


def _is_size(value: Any) -> bool:
    """Return whether a value is a size in bytes, which LUKS2 writes as text."""
    return (
        isinstance(value, str)
        and value.isascii()
        and value.isdecimal()
        and str(int(value[:20])) == value
        and int(value) % _SECTOR == 0
    )


def _is_base64(value: Any) -> bool:
    try:
        return isinstance(value, str) and len(base64.b64decode(value, validate=True)) > 0
    except binascii.Error:
        return False


_NAMES: dict[Wanted, str] = {
    _is_number: "a positive integer",
    _is_size: "a multiple of 4096 as text",
    _is_base64: "base64",
}

# Every member that may occur. Source: docs/internals/runtime.md 7.4, step 3.
_WANTED: dict[str, Any] = {
    "keyslots": {
        "0": {
            "type": "luks2",
            "key_size": 96,
            "af": {"type": "luks1", "stripes": 4000, "hash": "sha256"},
            "area": {
                "type": "raw",
                "offset": _is_size,
                "size": _is_size,
                "encryption": "aes-xts-plain64",
                "key_size": 64,
            },
            "kdf": {
                "type": "argon2id",
                "time": _is_number,
                "memory": _is_number,
                "cpus": _is_number,
                "salt": _is_base64,
            },
        }
    },
    "tokens": {},
    "segments": {
        "0": {
            "type": "crypt",
            "offset": _is_size,
            "size": "dynamic",
            "iv_tweak": "0",
            "encryption": "aes-xts-plain64",
            "sector_size": _SECTOR,
            "integrity": {
                "type": "hmac(sha256)",
                "journal_encryption": "none",
                "journal_integrity": "none",
            },
        }
    },
    "digests": {
        "0": {
            "type": "pbkdf2",
            "keyslots": ["0"],
            "segments": ["0"],
            "hash": "sha256",
            "iterations": _is_number,
            "salt": _is_base64,
            "digest": _is_base64,
        }
    },
    "config": {"json_size": str(HEADER_SIZE - _BINARY_SIZE), "keyslots_size": _is_size},
}


def _compare(found: Any, wanted: Any, place: str) -> None:
    if callable(wanted):
        if not wanted(found):
            raise _refused(place, shown(found), _NAMES[wanted])
    elif isinstance(wanted, dict):
        if not isinstance(found, dict):
            raise _refused(place or "the JSON", shown(found), "an object")
        for key in sorted(found.keys() | wanted.keys()):
            if key not in wanted:
                raise _refused(f"{place}/{key}", shown(found[key]), "no such member")
            if key not in found:
                raise _refused(f"{place}/{key}", "absent", _described(wanted[key]))
            _compare(found[key], wanted[key], f"{place}/{key}")
    elif type(found) is not type(wanted) or found != wanted:
        # 96.0 equals 96 in Python, and who knows what another reader makes of it.
        raise _refused(place, shown(found), shown(wanted))


def _described(wanted: Any) -> str:
    return _NAMES[wanted] if callable(wanted) else shown(wanted)


def _keyslots_size(document: Any) -> int:
    """Return the size of the keyslots' area, which ends before the data and has the one keyslot in it."""
    area, segment = document["keyslots"]["0"]["area"], document["segments"]["0"]
    begin, size = int(area["offset"]), int(document["config"]["keyslots_size"])
    wanted = f"{DATA_OFFSET} to {_LARGEST_OFFSET}"
    if not DATA_OFFSET <= int(segment["offset"]) <= _LARGEST_OFFSET:
        raise _refused("/segments/0/offset", shown(segment["offset"]), wanted)
    if KEYSLOTS + size > DATA_OFFSET:
        raise _refused("/config/keyslots_size", shown(size), f"at most {DATA_OFFSET - KEYSLOTS}")
    if not KEYSLOTS <= begin <= begin + int(area["size"]) <= KEYSLOTS + size:
        found, wanted = f"{area['size']} at {begin}", f"between {KEYSLOTS} and {KEYSLOTS + size}"
        raise _refused("/keyslots/0/area/size", found, wanted)
    return size


def _refused(place: str, found: str, wanted: str) -> VolumeNotOpened:
    return VolumeNotOpened(
        f"the volume's header is none that was written for this pod: {place} is {found}, wanted {wanted}"
    )


def _damaged(reason: str) -> VolumeNotOpened:
    return VolumeNotOpened(
        f"the volume's header is damaged: {reason}",
        hint="nothing was changed; a backup of the volume's first 2 MiB brings it back",
    )
