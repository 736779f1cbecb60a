"""Issuers of a real guest: hardware evidence in the documents of attested TLS.

An SNP document carries the host's certificates. A host may have none, or one for another TCB than the report's; then the caller's
lookup is used. Certificates from the lookup are cached by chip and TCB.
"""

import contextlib
import logging
from collections.abc import Mapping
from uuid import UUID

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.issuers.devices import (
    ARK_GUID,
    ASK_GUID,
    VCEK_GUID,
    VLEK_GUID,
    parse_certificate_table,
)
from contrast_tasks.attestation.issuers.tsm import EvidenceSource, IssuerError
from contrast_tasks.attestation.snp.crl import CrlSource
from contrast_tasks.attestation.snp.document import EXTRA_CRL, SnpDocument, render_document
from contrast_tasks.attestation.snp.endorsement import KIND_VLEK, parse_endorsement
from contrast_tasks.attestation.snp.expectation import ReportTcbs
from contrast_tasks.attestation.snp.lines import line_of_report
from contrast_tasks.attestation.snp.report import SnpReport, parse_report
from contrast_tasks.attestation.snp.verify import CertificateSource, line_of
from contrast_tasks.attestation.tdx.document import render_document as render_tdx_document
from contrast_tasks.attestation.tdx.pck import parse_pck_chain
from contrast_tasks.attestation.tdx.quote import parse_quote
from contrast_tasks.attestation.tdx.verify import CollateralSource
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX, REPORT_DATA_BYTES

_log = logging.getLogger("issuer")

_MOST_CERTIFICATES = 16
_NOTHING = bytes(REPORT_DATA_BYTES)


class SnpIssuer:
    """Documents over SNP reports."""

    oid = OID_SNP

    def __init__(
        self,
        source: EvidenceSource,
        *,
        certificate: CertificateSource | None = None,
        crl: CrlSource | None = None,
    ) -> None:
        """Use reports from `source`; `certificate` and `crl` supply what the host does not."""
        self._source = source
        self._certificate = certificate
        self._crl = crl
        self._known: dict[tuple[bytes, int], bytes] = {}

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; raises IssuerError."""
        raw = self._source.fetch(report_data)
        try:
            report = parse_report(raw.report)
        except MalformedEvidence as err:
            raise IssuerError(f"the hardware returned a malformed report: {err}") from err
        if report.report_data != report_data:
            raise IssuerError("the hardware returned a report for other report data")
        table = _host_certificates(raw.auxiliary)
        is_vlek = report.key_kind == KIND_VLEK
        key = table.get(VLEK_GUID if is_vlek else VCEK_GUID, b"")
        if not is_vlek and not _fits(key, report):
            key = self._looked_up(report) or key
        line = line_of_report(report)
        crl = self._crl(line, report.key_kind) if self._crl and line else None
        return render_document(
            SnpDocument(
                report=report,
                vcek_der=b"" if is_vlek else key,
                vlek_der=key if is_vlek else b"",
                ask_der=table.get(ASK_GUID, b""),
                ark_der=table.get(ARK_GUID, b""),
                product=line,
                extras={EXTRA_CRL: crl} if crl else {},
            )
        )

    def prepare(self) -> None:
        """Look up everything that a document needs, which starts fetching what is missing."""
        with contextlib.suppress(IssuerError):
            self.issue(_NOTHING)

    def _looked_up(self, report: SnpReport) -> bytes:
        if self._certificate is None:
            return b""
        place = (report.chip_id, report.reported_tcb)
        known = self._known.get(place) or self._certificate(report)
        if known and place not in self._known:
            if len(self._known) >= _MOST_CERTIFICATES:
                self._known.clear()
            self._known[place] = known
        return known


def _host_certificates(content: bytes) -> Mapping[UUID, bytes]:
    """Return the host's certificates, none if the table is malformed: other sources may have them."""
    try:
        return parse_certificate_table(content)
    except IssuerError as err:
        _log.warning("%s; continuing without it", err)
        return {}


def _fits(certificate: bytes, report: SnpReport) -> bool:
    """Return whether a certificate is for the report's chip and TCB; the host's is often outdated after a firmware update."""
    try:
        endorsement = parse_endorsement(certificate)
        reported = ReportTcbs.of(report, line_of(report, endorsement)).reported
    except EvidenceRejected:
        return False
    # If the chip hides its id, only the TCB can be compared.
    same_chip = not any(report.chip_id) or report.chip_id.startswith(endorsement.hwid)
    return same_chip and endorsement.tcb == reported


class TdxIssuer:
    """Documents over TDX quotes."""

    oid = OID_TDX

    def __init__(
        self, source: EvidenceSource, *, collateral: CollateralSource | None = None
    ) -> None:
        """Use quotes from `source`; `prepare` calls `collateral` for this platform."""
        self._source = source
        self._collateral = collateral

    def prepare(self) -> None:
        """Look up the collateral of this platform, for its peers probably run on the same kind."""
        if self._collateral is None:
            return
        # Not verified: the host's claim about its platform only decides what is fetched early.
        with contextlib.suppress(IssuerError, EvidenceRejected):
            quote = parse_quote(self._source.fetch(_NOTHING).report)
            chain = parse_pck_chain(quote.pck_chain_pem)
            self._collateral(chain.facts.fmspc, chain.authority)

    def issue(self, report_data: bytes) -> bytes:
        """Return a document over 64 bytes of report data; raises IssuerError."""
        raw = self._source.fetch(report_data)
        try:
            quote = parse_quote(raw.report)
            if quote.body.report_data != report_data:
                raise IssuerError("the hardware returned a quote for other report data")
            return render_tdx_document(quote)
        except MalformedEvidence as err:
            raise IssuerError(f"the hardware returned a malformed quote: {err}") from err
