"""Headers of LUKS2: one that cryptsetup 2.6.1 wrote, and others made of it, with checksums of the test's own.

The recorded one comes from a kernel with device-mapper: `cryptsetup luksFormat` with the options of docs/internals/runtime.md 7.4 on a
device of 200 MiB. Source of the layout: LUKS2 On-Disk Format Specification 1.1, 2.1.
"""

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

RECORDED = gzip.decompress(
    base64.b64decode(
        Path(__file__).parents[1].joinpath("guest", "volumes", "luks2-header.b64").read_text()
    )
)
"""The first 16384 bytes of a volume."""


def document() -> Any:
    """Return the JSON of the recorded header."""
    return json.loads(RECORDED[4096:].partition(b"\0")[0])


def with_text(text: bytes) -> bytes:
    """Return the recorded header with another text in its JSON area, and the right checksum."""
    return sealed(RECORDED[:4096] + text.ljust(16384 - 4096, b"\0"))


def with_document(changed: Any) -> bytes:
    """Return the recorded header with another JSON."""
    return with_text(json.dumps(changed).encode())


def with_bytes(offset: int, content: bytes) -> bytes:
    """Return the recorded header with other bytes at an offset, and the right checksum."""
    return sealed(RECORDED[:offset] + content + RECORDED[offset + len(content) :])


def sealed(header: bytes) -> bytes:
    """Return a header with the SHA-256 over all of it, the checksum's own 64 bytes taken as zeros."""
    zeroed = header[:448] + bytes(64) + header[512:]
    return header[:448] + hashlib.sha256(zeroed).digest() + bytes(32) + header[512:]


def secondary(header: bytes) -> bytes:
    """Return a header as it lies at 16384: with another magic, its own place, and the checksum of that."""
    return sealed(b"SKUL\xba\xbe" + header[6:256] + (16384).to_bytes(8) + header[264:])
