"""Fetch what vendors publish about the processors behind evidence; list and prune the cache.

Fetching is for the time before a connection: `set`, `verify` and the Coordinator verify evidence with the cache, and never wait
for a vendor during a handshake. Source: docs/internals/attestation.md 2.5, 3.4.
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

if TYPE_CHECKING:
    from contrast_tasks.attestation.carriers import Carried
    from contrast_tasks.attestation.endorsements.fetch import Endorsements
    from contrast_tasks.web.answers import Answer

_CACHE_FILE = re.compile(r"[0-9a-f]{64}\.json")
# `write_atomic` names its temporary files so.
_TEMPORARY_FILE = re.compile(r"\.[0-9a-f]{64}\.json\..+")
_LONGEST_WRITE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """The material for one piece of evidence: the origin of each part, and why others are missing, with hints."""

    evidence: str
    product: str
    sources: Mapping[str, str]
    troubles: tuple[str, ...]
    hints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One publication in the cache; valid_until: UTC, empty if it is unlimited or the file is damaged."""

    url: str
    what: str
    size_bytes: int
    valid_until: str
    usable: bool


class MaterialMissing(EvidenceRejected):
    """Material that a verdict needs is not available."""


def fetch_endorsements(carried: "Carried", endorsements: "Endorsements", now: datetime) -> Fetched:
    """Fetch and cache the material for a verdict on evidence."""
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
    """Raise MaterialMissing unless all material was available."""
    troubles = [text for material in fetched for text in material.troubles]
    if troubles:
        hints = dict.fromkeys(hint for material in fetched for hint in material.hints)
        raise MaterialMissing("not available: " + "\n  ".join(troubles), hint="; ".join(hints))


def kept_endorsements(folder: Path, now: datetime) -> Iterator[Kept]:
    """Yield the publications in the cache by address; files of another form are skipped."""
    from contrast_tasks.attestation.endorsements.fetch import EndorsementCache

    for url, answer in sorted(EndorsementCache(folder).entries(), key=lambda entry: entry[0]):
        yield _described(url, answer, now)


def prune(folder: Path, now: datetime) -> list[str]:
    """Remove publications that are expired or damaged, and the rests of interrupted writes. Return the file names.

    Files of other programs stay, and so do files that other processes are writing.
    """
    from contrast_tasks.attestation.endorsements.fetch import EndorsementCache

    path_of = EndorsementCache(folder).path_of
    usable = {path_of(kept.url) for kept in kept_endorsements(folder, now) if kept.usable}
    removed = []
    for path in sorted(folder.glob("*")) + sorted(folder.glob(".*")):
        is_unusable = bool(_CACHE_FILE.fullmatch(path.name)) and path not in usable
        if (is_unusable or _is_left_over(path, now)) and path.is_file():
            with contextlib.suppress(OSError):
                path.unlink()
                removed.append(path.name)
    return removed


def _is_left_over(path: Path, now: datetime) -> bool:
    if not _TEMPORARY_FILE.fullmatch(path.name):
        return False
    try:
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return False
    return now - written > _LONGEST_WRITE


def _described(url: str, answer: "Answer", now: datetime) -> Kept:
    from contrast_tasks.attestation.pki.forms import utc_text

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
        valid_until=utc_text(until) if until else "",
        usable=usable,
    )


def _kind_and_end(url: str, answer: "Answer") -> tuple[str, datetime | None]:
    """Return the kind of a publication and the time it expires; raises EvidenceRejected if it does not parse."""
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
