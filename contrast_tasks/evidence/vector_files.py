"""The files of one evidence vector by kind: report, quote, document, certificates, collateral.

The name of a file decides its kind, so that a malformed report is still judged as a report; if the name does not tell, the bytes
decide. The same evidence may come in several forms, as a report and a document; each is judged.
Source of the suffixes: docs/internals/attestation.md 9.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import TypeVar

from contrast_tasks.attestation.carriers import HCL_MAGIC, is_raw_quote, report_in_container
from contrast_tasks.attestation.errors import EndorsementRejected, MalformedEvidence
from contrast_tasks.attestation.pki.forms import der_to_pem, pem_to_der
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document
from contrast_tasks.attestation.snp.endorsement import (
    KIND_VLEK,
    Endorsement,
    parse_endorsement,
)
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
_SUFFIXES = {
    ".report.bin": _REPORT,
    ".quote.bin": _QUOTE,
    ".pb": _DOCUMENT,
    ".json": _COLLATERAL,
    ".der": _CERTIFICATE,
    ".pem": _CERTIFICATE,
    ".crt": _CERTIFICATE,
    ".cer": _CERTIFICATE,
}
_DER, _PEM = b"\x30", b"-----BEGIN"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorFiles:
    """The files of a vector by kind, each list in the order of the index."""

    by_kind: Mapping[str, tuple[bytes, ...]]

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> "VectorFiles":
        """Sort files, by their names, into kinds."""
        by_kind: dict[str, tuple[bytes, ...]] = {}
        for name, content in files.items():
            kind = _kind(name, content)
            by_kind[kind] = (*by_kind.get(kind, ()), content)
        return cls(by_kind=by_kind)

    def snp_documents(self) -> tuple[SnpDocument, ...]:
        """Return every report and document; one without a certificate gets that of another file. Raises EvidenceRejected."""
        documents = [parse_document(content) for content in self._all(_DOCUMENT)]
        reports = [
            *self._all(_REPORT),
            *(report_in_container(container) for container in self._all(_CONTAINER)),
        ]
        bare = [SnpDocument(report=parse_report(report)) for report in reports]
        return tuple(
            self._with_certificate(document, documents)
            for document in _require_any([*bare, *documents])
        )

    def _with_certificate(self, bare: SnpDocument, others: Sequence[SnpDocument]) -> SnpDocument:
        if bare.vcek_der or bare.vlek_der:
            return bare
        if not self._all(_CERTIFICATE):
            source = next((other for other in others if other.vcek_der or other.vlek_der), bare)
            return replace(bare, vcek_der=source.vcek_der, vlek_der=source.vlek_der)
        endorsement = self._first_endorsement()
        content = endorsement.certificate.raw
        if endorsement.kind == KIND_VLEK:
            return replace(bare, vlek_der=content)
        return replace(bare, vcek_der=content)

    def endorsement(self) -> Endorsement:
        """Return the endorsement certificate, from a file of its own or from the document; raises EvidenceRejected."""
        if self._all(_CERTIFICATE):
            return self._first_endorsement()
        return endorsement_of(parse_document(_require_any(self._all(_DOCUMENT))[0]))

    def _first_endorsement(self) -> Endorsement:
        """Return the first endorsement among the certificates; without one, raises the error of the first certificate."""
        first: MalformedEvidence | None = None
        for content in self._all(_CERTIFICATE):
            for der in [content] if content.startswith(_DER) else pem_to_der(content):
                try:
                    return parse_endorsement(der)
                except MalformedEvidence as err:
                    first = first or err
        raise first or MalformedEvidence("the certificate file holds no certificate")

    def tdx_quotes(self) -> tuple[TdxQuote, ...]:
        """Return every quote, raw or in a document; raises EvidenceRejected."""
        documents = (quote_bytes(content) for content in self._all(_DOCUMENT))
        return tuple(parse_quote(raw) for raw in _require_any([*self._all(_QUOTE), *documents]))

    def pck_chains_pem(self) -> tuple[bytes, ...]:
        """Return Intel's certificate chains, leaf first: those of the quotes, else one of all certificate files."""
        certificates = self._all(_CERTIFICATE)
        if self._all(_QUOTE) or self._all(_DOCUMENT) or not certificates:
            return tuple(quote.pck_chain_pem for quote in self.tdx_quotes())
        pem = (der_to_pem(each) if each.startswith(_DER) else each for each in certificates)
        return (b"".join(pem),)

    @property
    def collateral(self) -> bytes:
        """Return the bundle, empty if there is none."""
        return next(iter(self._all(_COLLATERAL)), b"")

    def _all(self, kind: str) -> tuple[bytes, ...]:
        return self.by_kind.get(kind, ())


def _require_any(evidence: Sequence[T]) -> Sequence[T]:
    if not evidence:
        raise MalformedEvidence("the vector names no file of evidence for this check")
    return evidence


def endorsement_of(document: SnpDocument) -> Endorsement:
    """Return the endorsement certificate of a document; raises EndorsementRejected if it has none."""
    content = document.vlek_der or document.vcek_der
    if not content:
        raise EndorsementRejected(
            "there is no endorsement certificate for the report", reason="chain-incomplete"
        )
    return parse_endorsement(content)


_BYTES: tuple[tuple[str, Callable[[bytes], bool]], ...] = (
    (_REPORT, lambda content: len(content) == REPORT_BYTES),
    (_QUOTE, is_raw_quote),
    (_CERTIFICATE, lambda content: content.startswith((_DER, _PEM))),
    (_COLLATERAL, lambda content: content.startswith(b"{")),
    (_DOCUMENT, lambda content: content.startswith(b"\x0a")),
)


def is_collateral(name: str) -> bool:
    """Return whether the name of a file, which may not exist, is one of collateral."""
    return _kind_by_name(name) == _COLLATERAL


def _kind_by_name(name: str) -> str | None:
    base = PurePosixPath(name).name.lower()
    by_suffix = (kind for suffix, kind in _SUFFIXES.items() if base.endswith(suffix))
    return next(by_suffix, _COLLATERAL if _COLLATERAL in base else None)


def _kind(name: str, content: bytes) -> str:
    """Return the kind of a file; an unknown one counts as a report, so it is refused."""
    if content.startswith(HCL_MAGIC):
        return _CONTAINER
    by_bytes = (kind for kind, fits in _BYTES if fits(content))
    return _kind_by_name(name) or next(by_bytes, _REPORT)
