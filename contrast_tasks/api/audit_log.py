"""The form of the audit log's entries, for the Coordinator that writes them and for whoever verifies them.

The content of an entry is a JSON object; "previous" is the SHA-256 of the content before it, so the signature of one entry covers
all before it. Source: docs/internals/coordinator.md 14.1.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

BLOCKS = 64
BLOCK_ENTRIES = 64
_LABEL = b"contrast-tasks audit log"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One entry. members: of the content; previous: 32 bytes, zeros for the first; signature: ASN.1 DER or empty."""

    content: bytes
    signature: bytes
    number: int
    previous: bytes
    members: Mapping[str, Any]

    @property
    def digest(self) -> bytes:
        """Return what the next entry has as `previous`."""
        return hashlib.sha256(self.content).digest()

    def is_signed_by(self, key: ec.EllipticCurvePublicKey) -> bool:
        """Return whether there is a signature, and it verifies under the transaction key."""
        digest = digest_to_sign(self.content)
        try:
            key.verify(self.signature, digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        except InvalidSignature:
            return False
        return True


def oldest_kept(newest: int) -> int:
    """Return the number of the oldest entry that a log keeps whose newest one has the number `newest`."""
    return max(0, (newest // BLOCK_ENTRIES + 1 - BLOCKS) * BLOCK_ENTRIES)


def parse_entry(content: bytes, signature: bytes) -> AuditEntry:
    """Return the entry; raises ValueError if its content has not the form of one."""
    members = json.loads(content)
    if not isinstance(members, dict):
        raise ValueError("not an object")  # noqa: TRY004  # one error for all that is malformed
    number, previous = members.get("number"), members.get("previous")
    if type(number) is not int or number < 0 or not isinstance(previous, str):
        raise ValueError("number or previous is missing")
    link = bytes.fromhex(previous)
    if len(link) != hashlib.sha256().digest_size:
        raise ValueError("previous is no SHA-256")
    return AuditEntry(
        content=content, signature=signature, number=number, previous=link, members=members
    )


def render_content(members: Mapping[str, Any]) -> bytes:
    """Return the JSON of an entry or of an unwritten event."""
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def digest_to_sign(content: bytes) -> bytes:
    """Return the 32 bytes that are signed for an entry, as a digest that is not hashed again."""
    return hashlib.sha256(_LABEL + hashlib.sha256(content).digest()).digest()


def genuine(entries: Iterable[AuditEntry], key: ec.EllipticCurvePublicKey) -> list[AuditEntry]:
    """Return the entries that the newest valid signature covers, without a gap, oldest first."""
    newest_first = sorted(entries, key=lambda entry: entry.number, reverse=True)
    chain: list[AuditEntry] = []
    for entry in newest_first:
        if not chain:
            if entry.is_signed_by(key):
                chain.append(entry)
        elif _is_before(entry, chain[-1]):
            chain.append(entry)
        elif entry.number + 1 < chain[-1].number:
            break
    return chain[::-1]


def first_break(entries: Sequence[AuditEntry]) -> int | None:
    """Return the number of the first entry that does not follow the one before it, None if all do."""
    pairs = pairwise(entries)
    return next((after.number for before, after in pairs if not _is_before(before, after)), None)


def _is_before(entry: AuditEntry, after: AuditEntry) -> bool:
    return entry.number + 1 == after.number and entry.digest == after.previous
