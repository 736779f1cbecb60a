"""Cached publications of the vendors, for verification during a handshake.

Reading a file is the longest wait. A publication that is not cached or no longer valid counts as absent, and evidence that needs
it is refused.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from contrast_tasks.attestation.endorsements import kds, pcs
from contrast_tasks.attestation.endorsements.fetch import Access, EndorsementCache, Endorsements
from contrast_tasks.attestation.snp.endorsement import LINE_TURIN
from contrast_tasks.attestation.snp.lines import LINES, LINES_BEFORE_CPUID, line_of_report
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb, parse_tcb
from contrast_tasks.attestation.tdx.collateral import Collateral
from contrast_tasks.errors import EvidenceRejected


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptEndorsements:
    """The sources for `validators_for` and issuers; safe to use from any thread.

    endorsements: used as a cache only, never to fetch. clock: the time of verification.
    """

    endorsements: Endorsements
    clock: Callable[[], datetime]

    @classmethod
    def in_folder(cls, folder: Path, clock: Callable[[], datetime]) -> Self:
        """Return what `endorsements fetch` stored in a folder; the network is never used."""
        offline = Endorsements(EndorsementCache(folder), Access(get=None))
        return cls(endorsements=offline, clock=clock)

    def crl(self, line: str, kind: str) -> bytes | None:
        """Return the revocation list of a product line and kind of key; a `CrlSource`."""
        if line not in LINES:
            return None
        return kds.cached_crl(self.endorsements, line, now=self.clock(), kind=kind)

    def collateral(self, fmspc: bytes, authority: str) -> Collateral | None:
        """Return the collateral of a platform; a `CollateralSource`."""
        return pcs.cached_collateral(self.endorsements, fmspc, authority)

    def certificate(self, report: SnpReport) -> bytes:
        """Return the endorsement certificate (DER) for a report's chip and TCB, empty if it is not cached."""
        now = self.clock()
        for line, tcb in possible_levels(report):
            kept = kds.cached_vcek(self.endorsements, line, report.chip_id, tcb, now=now)
            if kept:
                return kept
        return b""


def possible_levels(report: SnpReport) -> Iterator[tuple[str, Tcb]]:
    """Yield each product line that a report may come from, with the TCB of its endorsement certificate."""
    lines = (line_of_report(report),) if report.has_cpuid else LINES_BEFORE_CPUID
    for line in filter(LINES.__contains__, lines):
        with contextlib.suppress(EvidenceRejected):
            yield line, parse_tcb(report.reported_tcb, turin=line == LINE_TURIN)
