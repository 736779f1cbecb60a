"""Gather what a verdict needs besides the evidence: endorsement certificate, revocation list, collateral.

A peer may send all, some or none of it. The rest comes from the cache, or from the vendor if the caller's `Endorsements` may use
the network; so this runs before or after a connection, never during a handshake. Missing material is no error here:
verification refuses without it, and `troubles` says why it is missing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeVar

from contrast_tasks.attestation.carriers import Evidence
from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import Endorsements, EndorsementUnavailable
from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.snp.document import EXTRA_CRL, SnpDocument
from contrast_tasks.attestation.snp.endorsement import KIND_VCEK, parse_endorsement
from contrast_tasks.attestation.snp.expectation import ReportTcbs
from contrast_tasks.attestation.snp.lines import LINES, LINES_BEFORE_CPUID, line_of_report
from contrast_tasks.attestation.snp.report import SIGNING_KEY_VCEK, SnpReport
from contrast_tasks.attestation.tdx.collateral import Collateral
from contrast_tasks.attestation.tdx.quote import TdxQuote
from contrast_tasks.attestation.tdx.verify import verify_genuine
from contrast_tasks.attestation.trust_roots import TrustRoots
from contrast_tasks.errors import ContrastError, EvidenceRejected

T = TypeVar("T")

CERTIFICATE, REVOCATION_LIST, COLLATERAL = (
    "endorsement certificate",
    "revocation list",
    "collateral",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Evidence, completed as far as possible, and the material to verify it with.

    crls: revocation list (DER) by product line. collateral: for the quote's platform. sources: the origin of each part, for
    people. troubles: why parts are missing, one sentence each; hints: what to do about it.
    """

    evidence: Evidence
    crls: Mapping[str, bytes] = field(default_factory=dict)
    collateral: Collateral | None = None
    sources: Mapping[str, str] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()

    def crl(self, line: str, kind: str) -> bytes | None:
        """Return the list of a line; a `CrlSource`. It was gathered for the kind of key that signed the evidence."""
        del kind
        return self.crls.get(line)

    def collateral_of(self, fmspc: bytes, authority: str) -> Collateral | None:
        """Return the collateral; a `CollateralSource`. Verification checks that it is for this platform."""
        del fmspc, authority
        return self.collateral


class _Gathering:
    """Records the origin of each part, and the errors."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.errors: dict[str, ContrastError] = {}

    def fetched(self, what: str, fetch: Callable[[], T]) -> T | None:
        """Return what `fetch` returns, None if it fails."""
        try:
            found = fetch()
        except (EndorsementUnavailable, EvidenceRejected) as err:
            self.errors[what] = err
            return None
        self.have(what, "the vendor's publication")
        return found

    def have(self, what: str, source: str) -> None:
        """Record the origin of a part, and forget earlier errors about it."""
        self.sources[what] = source
        self.errors.pop(what, None)

    @property
    def troubles(self) -> tuple[str, ...]:
        return tuple(
            str(error) if str(error).startswith(f"{what}: ") else f"{what}: {error}"
            for what, error in self.errors.items()
        )

    @property
    def hints(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(error.hint for error in self.errors.values() if error.hint))


def gather(
    evidence: Evidence,
    endorsements: Endorsements,
    *,
    roots: TrustRoots,
    now: datetime,
    collateral: Collateral | None = None,
) -> Material:
    """Return the evidence with all the material that was found for it.

    collateral: a bundle to use for a quote; then nothing is fetched.
    """
    found = _Gathering()
    crls: Mapping[str, bytes] = {}
    if isinstance(evidence, SnpDocument):
        evidence, line = _with_certificate(evidence, endorsements, now, found)
        crls = _revocation_lists(evidence, line, endorsements, now, found)
    elif collateral is not None:
        found.have(COLLATERAL, "given")
    else:
        collateral = _collateral(evidence, endorsements, roots, now, found)
    return Material(
        evidence=evidence,
        crls=crls,
        collateral=collateral,
        sources=found.sources,
        troubles=found.troubles,
        hints=found.hints,
    )


def _collateral(
    quote: TdxQuote,
    endorsements: Endorsements,
    roots: TrustRoots,
    now: datetime,
    found: _Gathering,
) -> Collateral | None:
    spki = roots.intel_spki
    try:
        chain = verify_genuine(quote, root_spki=spki, now=now)
    except EvidenceRejected:
        # Nothing is fetched for a quote that is not genuine; its verdict will say why.
        return None
    return found.fetched(
        COLLATERAL, lambda: pcs.fetch_collateral(endorsements, chain, root_spki=spki, now=now)
    )


def _revocation_lists(
    document: SnpDocument, line: str, endorsements: Endorsements, now: datetime, found: _Gathering
) -> dict[str, bytes]:
    kind = document.report.key_kind
    carried = kind == KIND_VCEK and bool(document.extras.get(EXTRA_CRL))
    if line in LINES:
        crl = found.fetched(
            REVOCATION_LIST, lambda: kds.fetch_crl(endorsements, line, now=now, kind=kind)
        )
        if crl is not None:
            return {line: crl}
    if carried:
        # The root signed the peer's list too, so it will do.
        found.have(REVOCATION_LIST, "the document")
    return {}


def line_of(document: SnpDocument) -> str:
    """Return the product line that a report or else its certificate names, empty if there is none."""
    certificate = document.vcek_der or document.vlek_der
    if document.report.has_cpuid or not certificate:
        return line_of_report(document.report)
    try:
        return parse_endorsement(certificate).line
    except MalformedEvidence:
        return ""


def _with_certificate(
    document: SnpDocument, endorsements: Endorsements, now: datetime, found: _Gathering
) -> tuple[SnpDocument, str]:
    """Return the document, with an endorsement certificate if one was found, and the product line."""
    line, report = line_of(document), document.report
    if document.vcek_der or document.vlek_der:
        found.have(CERTIFICATE, "the document")
        return document, line
    if report.signing_key != SIGNING_KEY_VCEK:
        return document, line
    for candidate in (line,) if line else LINES_BEFORE_CPUID:
        if candidate not in LINES:
            continue
        fetch = partial(_fetch_certificate, endorsements, report, candidate, now)
        certificate = found.fetched(CERTIFICATE, fetch)
        if certificate is not None:
            return replace(document, vcek_der=certificate), candidate
    return document, line


def _fetch_certificate(
    endorsements: Endorsements, report: SnpReport, line: str, now: datetime
) -> bytes:
    tcb = ReportTcbs.of(report, line).reported
    return kds.fetch_vcek(endorsements, line, report.chip_id, tcb, now=now)
