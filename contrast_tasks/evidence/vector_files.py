"""The files of one evidence vector, sorted by what they are: report, quote, document, certificates, collateral.

The name of a file decides what it is, so that a malformed report is still judged as a report; its bytes decide where the name says
nothing. The same evidence may be there in several forms (a report and a document); each of them is judged.
Source of the endings: docs/internals/attestation.md 9.
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
_DER, _PEM = b"\x30", b"-----BEGIN"
T = TypeVar("T")


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

    def snp_documents(self) -> tuple[SnpDocument, ...]:
        """Return every report and document, those without a certificate with that of another file; raises EvidenceRejected."""
        documents = [parse_document(content) for content in self._all(_DOCUMENT)]
        reports = [
            *self._all(_REPORT),
            *(report_in_container(container) for container in self._all(_CONTAINER)),
        ]
        bare = [SnpDocument(report=parse_report(report)) for report in reports]
        return tuple(
            self._with_certificate(one, documents) for one in self._some(*bare, *documents)
        )

    def _with_certificate(self, bare: SnpDocument, others: Sequence[SnpDocument]) -> SnpDocument:
        if bare.vcek_der or bare.vlek_der:
            return bare
        if not self._all(_CERTIFICATE):
            beside = next((one for one in others if one.vcek_der or one.vlek_der), bare)
            return replace(bare, vcek_der=beside.vcek_der, vlek_der=beside.vlek_der)
        endorsement = self._endorsement()
        content = endorsement.certificate.raw
        if endorsement.kind == KIND_VLEK:
            return replace(bare, vlek_der=content)
        return replace(bare, vcek_der=content)

    def endorsement(self) -> Endorsement:
        """Return the endorsement certificate, alone or out of the document; raises EvidenceRejected."""
        if self._all(_CERTIFICATE):
            return self._endorsement()
        return endorsement_of(parse_document(self._some(*self._all(_DOCUMENT))[0]))

    def _endorsement(self) -> Endorsement:
        """Return the first certificate that is an endorsement; with none, what is wrong with the first of all."""
        first: MalformedEvidence | None = None
        for content in self._all(_CERTIFICATE):
            for der in [content] if content.startswith(_DER) else pem_to_der(content):
                try:
                    return parse_endorsement(der)
                except MalformedEvidence as err:
                    first = first or err
        raise first or MalformedEvidence("the certificate file holds no certificate")

    def tdx_quotes(self) -> tuple[TdxQuote, ...]:
        """Return every quote, raw or out of a document; raises EvidenceRejected."""
        documents = (quote_bytes(content) for content in self._all(_DOCUMENT))
        return tuple(parse_quote(raw) for raw in self._some(*self._all(_QUOTE), *documents))

    def pck_chains_pem(self) -> tuple[bytes, ...]:
        """Return chains of Intel's certificates, each leaf first: those of the quotes, else the files themselves as one."""
        certificates = self._all(_CERTIFICATE)
        if self._all(_QUOTE) or self._all(_DOCUMENT) or not certificates:
            return tuple(quote.pck_chain_pem for quote in self.tdx_quotes())
        pem = (der_to_pem(one) if one.startswith(_DER) else one for one in certificates)
        return (b"".join(pem),)

    @property
    def collateral(self) -> bytes:
        """Return the bundle, empty if there is none."""
        return next(iter(self._all(_COLLATERAL)), b"")

    def _all(self, kind: str) -> tuple[bytes, ...]:
        return self.by_kind.get(kind, ())

    def _some(self, *found: T) -> tuple[T, ...]:
        if not found:
            raise MalformedEvidence("the vector names no file of evidence for this check")
        return found


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
    (_QUOTE, is_raw_quote),
    (_CERTIFICATE, lambda content: content.startswith((_DER, _PEM))),
    (_COLLATERAL, lambda content: content.startswith(b"{")),
    (_DOCUMENT, lambda content: content.startswith(b"\x0a")),
)


def is_collateral(name: str) -> bool:
    """Return whether a file is collateral by its name alone, for files that are missing."""
    return _kind_by_name(name) == _COLLATERAL


def _kind_by_name(name: str) -> str | None:
    base = PurePosixPath(name).name.lower()
    by_ending = (kind for ending, kind in _ENDINGS.items() if base.endswith(ending))
    return next(by_ending, _COLLATERAL if _COLLATERAL in base else None)


def _kind(name: str, content: bytes) -> str:
    """Return what a file is; an unknown one counts as a report, and is refused as such."""
    if content.startswith(HCL_MAGIC):
        return _CONTAINER
    by_bytes = (kind for kind, fits in _BYTES if fits(content))
    return _kind_by_name(name) or next(by_bytes, _REPORT)
