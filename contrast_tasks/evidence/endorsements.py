"""Fetch what vendors publish about the processors behind evidence, and list what is kept of it.

Source: docs/internals/attestation.md 2.5, 3.4. Fetching is for the time before a connection: `set`, `verify` and the Coordinator judge
evidence by what is kept, and never wait for a vendor during a handshake.
"""

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.decode import parse_json
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.files import sha256_hex

if TYPE_CHECKING:
    from contrast_tasks.attestation.carriers import Carried
    from contrast_tasks.attestation.endorsements.fetch import Endorsements
    from contrast_tasks.web.answers import Answer

_OWN_FILE = re.compile(r"[0-9a-f]{64}\.json")
# What `write_atomic` names a file that is not whole yet.
_OWN_REST = re.compile(r"\.[0-9a-f]{64}\.json\..+")
_LONGEST_WRITE = timedelta(hours=1)
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What was found for one piece of evidence. sources: where each thing came from; troubles, hints: what is missing."""

    evidence: str
    product: str
    sources: Mapping[str, str]
    troubles: tuple[str, ...]
    hints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One publication in the cache; valid_until: UTC, empty where it does not say, and for what is damaged."""

    url: str
    what: str
    size_bytes: int
    valid_until: str
    usable: bool


class MaterialMissing(EvidenceRejected):
    """Something that a verdict needs could not be had."""


def fetch_endorsements(carried: "Carried", endorsements: "Endorsements", now: datetime) -> Fetched:
    """Fetch and keep everything that a verdict on this evidence needs."""
    from contrast_tasks.attestation.endorsements.material import gather, line_of
    from contrast_tasks.attestation.snp.document import SnpDocument
    from contrast_tasks.attestation.trust_roots import bundled_roots

    material = gather(carried.evidence, endorsements, roots=bundled_roots(), now=now)
    evidence = material.evidence
    return Fetched(
        evidence=carried.carrier,
        product=line_of(evidence) if isinstance(evidence, SnpDocument) else "TDX",
        sources=dict(material.sources),
        troubles=material.troubles,
        hints=material.hints,
    )


def require_complete(fetched: Sequence[Fetched]) -> None:
    """Raise MaterialMissing unless everything was to be had."""
    troubles = [text for one in fetched for text in one.troubles]
    if troubles:
        hints = dict.fromkeys(hint for one in fetched for hint in one.hints)
        raise MaterialMissing("not to be had: " + "\n  ".join(troubles), hint="; ".join(hints))


def kept_endorsements(folder: Path, now: datetime) -> Iterator[Kept]:
    """Yield what the cache holds, by address; files that are not ours are passed over."""
    from contrast_tasks.attestation.endorsements.fetch import EndorsementCache

    for url, answer in sorted(EndorsementCache(folder).entries(), key=lambda entry: entry[0]):
        yield _described(url, answer, now)


def prune(folder: Path, now: datetime) -> list[str]:
    """Remove what has expired, is damaged, or was left over by a write that never ended. Return the names.

    Files that we did not write stay, and so does what other processes write meanwhile.
    """
    kept = {_file_of(one.url): one.usable for one in kept_endorsements(folder, now)}
    removed = []
    for path in sorted(folder.glob("*")) + sorted(folder.glob(".*")):
        is_answer = bool(_OWN_FILE.fullmatch(path.name)) and not kept.get(path.name, False)
        if (is_answer or _is_left_over(path, now)) and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path.name)
    return removed


def _file_of(url: str) -> str:
    return f"{sha256_hex(url.encode())}.json"


def _is_left_over(path: Path, now: datetime) -> bool:
    if not _OWN_REST.fullmatch(path.name):
        return False
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return False
    return now - written > _LONGEST_WRITE


def _described(url: str, answer: "Answer", now: datetime) -> Kept:
    what, until = "publication", None
    try:
        what, until = _kind_and_end(url, answer)
        usable = until is None or now <= until
    except EvidenceRejected:
        usable = False
    return Kept(
        url=url,
        what=what,
        size_bytes=len(answer.body),
        valid_until=f"{until:{_TIME}}" if until else "",
        usable=usable,
    )


def _kind_and_end(url: str, answer: "Answer") -> tuple[str, datetime | None]:
    """Return what stands at an address and until when it may be used; raises EvidenceRejected if it does not parse."""
    from contrast_tasks.attestation.endorsements import pcs
    from contrast_tasks.attestation.pki.forms import load_crl
    from contrast_tasks.attestation.snp.endorsement import parse_endorsement

    if url.endswith("/crl") or "/pckcrl?" in url or url == pcs.ROOT_CRL_URL:
        return "revocation list", load_crl(pcs.list_der(answer), "the list").next_update_utc
    if "/vcek/v1/" in url:
        endorsement = parse_endorsement(answer.body)
        return f"certificate of a {endorsement.line} chip", endorsement.certificate.not_after
    if "/tcb?" in url:
        return "TCB info", _next_update(answer, "tcbInfo")
    if url == pcs.QE_IDENTITY_URL:
        return "QE identity", _next_update(answer, "enclaveIdentity")
    return "publication", None


def _next_update(answer: "Answer", member: str) -> datetime:
    try:
        text = parse_json(answer.body).at(member).at("nextUpdate").text()
        until = datetime.fromisoformat(text)
    except ValueError as err:
        raise EvidenceRejected(f"{member} does not parse") from err
    return until if until.tzinfo else until.replace(tzinfo=UTC)
