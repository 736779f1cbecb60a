"""The files of one evidence vector, sorted by what they are: report, quote, document, certificates, collateral.

A name that says what a file is has the first word, so that a malformed report is still judged as a report; else the bytes tell.
Source: testdata/attestation/README.md (the endings of names).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from contrast_tasks.attestation.carriers import HCL_MAGIC, is_raw_quote, report_in_container
from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki.forms import der_to_pem, pem_to_der
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document
from contrast_tasks.attestation.snp.endorsement import Endorsement, parse_endorsement
from contrast_tasks.attestation.snp.report import REPORT_BYTES, parse_report
from contrast_tasks.attestation.tdx.document import quote_bytes
from contrast_tasks.attestation.tdx.quote import TdxQuote, parse_quote

_REPORT, _CONTAINER, _QUOTE, _DOCUMENT, _CERTIFICATE, _COLLATERAL = (
    "report",
    "container",
    "quote",
    "document",
    "certificate",
    "collateral",
)
_ENDINGS = {
    ".report.bin": _REPORT,
    ".quote.bin": _QUOTE,
    ".pb": _DOCUMENT,
    ".json": _COLLATERAL,
    ".der": _CERTIFICATE,
    ".pem": _CERTIFICATE,
    ".crt": _CERTIFICATE,
    ".cer": _CERTIFICATE,
}
_PEM = b"-----BEGIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFiles:
    """The files of a vector by kind, each list in the order of the index."""

    by_kind: Mapping[str, tuple[bytes, ...]]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "VectorFiles":
        """Sort file name to bytes."""
        found: dict[str, list[bytes]] = {}
        for name, content in files.items():
            found.setdefault(_kind(name, content), []).append(content)
        return cls(by_kind={kind: tuple(contents) for kind, contents in found.items()})

    def snp_document(self) -> SnpDocument:
        """Return report and endorsement certificate, or the document if there is no report; raises EvidenceRejected."""
        report = self._first(_REPORT)
        if not report and (container := self._first(_CONTAINER)):
            report = report_in_container(container)
        if report:
            document = SnpDocument(report=parse_report(report))
        else:
            document = parse_document(self._wanted(_DOCUMENT))
        if document.vcek_der or document.vlek_der or not self._first(_CERTIFICATE):
            return document
        endorsement = self._endorsement()
        content = endorsement.certificate.raw
        if endorsement.kind == "VLEK":
            return replace(document, vlek_der=content)
        return replace(document, vcek_der=content)

    def endorsement(self) -> Endorsement:
        """Return the endorsement certificate, alone or out of the document; raises EvidenceRejected."""
        if self._first(_CERTIFICATE):
            return self._endorsement()
        document = parse_document(self._wanted(_DOCUMENT))
        return endorsement_of(document)

    def _endorsement(self) -> Endorsement:
        """Return the first certificate that is an endorsement; with none, what is wrong with the first of all."""
        first: MalformedEvidence | None = None
        for content in self.by_kind[_CERTIFICATE]:
            for der in pem_to_der(content) if content.startswith(_PEM) else [content]:
                try:
                    return parse_endorsement(der)
                except MalformedEvidence as err:
                    first = first or err
        raise first or MalformedEvidence("the certificate file holds no certificate")

    def tdx_quote(self) -> TdxQuote:
        """Return the quote, raw or out of the document; raises EvidenceRejected."""
        raw = self._first(_QUOTE)
        return parse_quote(raw or quote_bytes(self._wanted(_DOCUMENT)))

    def pck_chain_pem(self) -> bytes:
        """Return Intel's certificates, leaf first: those of the quote, else the files themselves."""
        certificates = self.by_kind.get(_CERTIFICATE, ())
        if self._first(_QUOTE) or self._first(_DOCUMENT) or not certificates:
            return self.tdx_quote().pck_chain_pem
        return b"".join(one if one.startswith(_PEM) else der_to_pem(one) for one in certificates)

    @property
    def collateral(self) -> bytes:
        """Return the bundle, empty if there is none."""
        return self._first(_COLLATERAL)

    def _first(self, kind: str) -> bytes:
        return next(iter(self.by_kind.get(kind, ())), b"")

    def _wanted(self, kind: str) -> bytes:
        content = self._first(kind)
        if not content:
            raise MalformedEvidence("the vector names no file of evidence for this check")
        return content


def endorsement_of(document: SnpDocument) -> Endorsement:
    """Return the endorsement certificate of a document; raises EndorsementRejected if it has none."""
    content = document.vlek_der or document.vcek_der
    if not content:
        raise EndorsementRejected(
            "there is no endorsement certificate beside the report", reason="chain-incomplete"
        )
    return parse_endorsement(content)


_BYTES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (_REPORT, lambda content: len(content) == REPORT_BYTES),
    (_CONTAINER, lambda content: content.startswith(HCL_MAGIC)),
    (_QUOTE, is_raw_quote),
    (_CERTIFICATE, lambda content: content.startswith((_PEM, b"\x30"))),
    (_COLLATERAL, lambda content: content.startswith(b"{")),
    (_DOCUMENT, lambda content: content.startswith(b"\x0a")),
)


def _kind(name: str, content: bytes) -> str:
    """Return what a file is; one that is nothing we know is judged as a report, which refuses it."""
    by_name = (kind for ending, kind in _ENDINGS.items() if name.lower().endswith(ending))
    by_bytes = (kind for kind, fits in _BYTES if fits(content))
    return next(by_name, None) or next(by_bytes, _REPORT)
