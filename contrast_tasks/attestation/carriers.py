"""Evidence out of whatever carries it: raw report or quote, document, certificate of attested TLS, paravisor's container.

Nothing is verified but the form. Whether its own key signed a certificate of attested TLS does not matter once its connection is
over.
"""

from dataclasses import dataclass

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.pki.certificate import parse_certificate
from contrast_tasks.attestation.pki.forms import load_certificate, pem_to_der
from contrast_tasks.attestation.snp.document import SnpDocument, parse_document
from contrast_tasks.attestation.snp.report import REPORT_BYTES, parse_report
from contrast_tasks.attestation.tdx import document as tdx_document
from contrast_tasks.attestation.tdx.quote import TdxQuote, parse_quote
from contrast_tasks.errors import EvidenceRejected
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX

Evidence = SnpDocument | TdxQuote

RAW_REPORT, HCL_CONTAINER = "SEV-SNP report", "HCL container of a SEV-SNP report"
PEM_BEGIN = b"-----BEGIN CERTIFICATE"
HCL_MAGIC, _HCL_HEADER_BYTES = b"HCLA", 0x20
_QUOTE_VERSIONS = (b"\x04\x00", b"\x05\x00")
_TEE_TYPE = b"\x81\x00\x00\x00"


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Evidence and what it came in; `carrier` is in words, for people."""

    evidence: Evidence
    carrier: str


def open_carrier(content: bytes) -> Carried:
    """Return the evidence in `content`; raises MalformedEvidence if there is none or it is not well-formed."""
    if is_raw_quote(content):
        return Carried(evidence=parse_quote(content), carrier="TDX quote")
    if content.startswith(HCL_MAGIC):
        return _reported(report_in_container(content), HCL_CONTAINER)
    if len(content) == REPORT_BYTES:
        return _reported(content, RAW_REPORT)
    if content.startswith(PEM_BEGIN) or content[:1] == b"\x30":
        return _from_certificate(content)
    if content[:1] == b"\x0a":
        return _from_document(content)
    raise MalformedEvidence(f"{len(content)} bytes that are no evidence we know")


def is_raw_quote(content: bytes) -> bool:
    """Return whether bytes begin as a TDX quote does."""
    return content[:2] in _QUOTE_VERSIONS and content[4:8] == _TEE_TYPE


def report_in_container(content: bytes) -> bytes:
    """Return the report inside the blob that Azure's paravisor keeps (docs/internals/attestation.md 4.1)."""
    return content[_HCL_HEADER_BYTES : _HCL_HEADER_BYTES + REPORT_BYTES]


def _reported(content: bytes, carrier: str) -> Carried:
    try:
        report = parse_report(content)
    except MalformedEvidence as err:
        raise MalformedEvidence(f"not a {carrier}: {err}", reason=err.reason) from err
    return Carried(evidence=SnpDocument(report=report), carrier=carrier)


def _from_certificate(content: bytes) -> Carried:
    if content.startswith(b"-----"):
        content = next(iter(pem_to_der(content)), b"")
    if _is_of_amd(content):
        raise MalformedEvidence(
            "the certificate is one of AMD's and carries no evidence",
            hint="the evidence is the report that it belongs to; 'evidence show' says what the certificate holds",
        )
    certificate = load_certificate(content, "the certificate")
    found = {
        extension.oid.dotted_string: extension.value.public_bytes()
        for extension in certificate.extensions
        if extension.oid.dotted_string in (OID_SNP, OID_TDX)
    }
    if len(found) != 1:
        raise MalformedEvidence(
            f"the certificate carries {len(found)} evidence documents, wanted 1",
            hint="wanted is a certificate of attested TLS; those of a mesh carry claims, not evidence",
        )
    (oid, document) = next(iter(found.items()))
    return evidence_of(oid, document, "certificate of attested TLS")


def _is_of_amd(content: bytes) -> bool:
    """Return whether it is signed as AMD signs; those have serial number 0, which the library is about to refuse."""
    try:
        parse_certificate(content)
    except MalformedEvidence:
        return False
    return True


def evidence_of(oid: str, document: bytes, carrier: str) -> Carried:
    """Return the evidence of a document whose kind is known from its extension. Raises MalformedEvidence."""
    if oid == OID_TDX:
        return Carried(evidence=tdx_document.parse_document(document), carrier=carrier)
    return Carried(evidence=parse_document(document), carrier=carrier)


def _from_document(content: bytes) -> Carried:
    # Both kinds are protobuf messages and begin alike; only one of them has the right fields.
    try:
        return Carried(evidence=parse_document(content), carrier="SEV-SNP document")
    except EvidenceRejected as err:
        first = str(err)
    try:
        return Carried(evidence=tdx_document.parse_document(content), carrier="TDX document")
    except EvidenceRejected as err:
        raise MalformedEvidence(
            f"not a SEV-SNP document: {first}; not a TDX document: {err}"
        ) from err
