"""Extract evidence from what carries it: raw report or quote, document, certificate of attested TLS, paravisor container.

Only the form is checked. The self-signature of a certificate of attested TLS matters during its connection only.
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
    """Evidence and a description of its carrier, for people."""

    evidence: Evidence
    carrier: str


def open_carrier(content: bytes) -> Carried:
    """Return the evidence in `content`; raises MalformedEvidence if there is none or it is malformed."""
    if is_raw_quote(content):
        return Carried(evidence=parse_quote(content), carrier="TDX quote")
    if content.startswith(HCL_MAGIC):
        return _from_report(report_in_container(content), HCL_CONTAINER)
    if len(content) == REPORT_BYTES:
        return _from_report(content, RAW_REPORT)
    if content.startswith(PEM_BEGIN) or content[:1] == b"\x30":
        return _from_certificate(content)
    if content[:1] == b"\x0a":
        return _from_document(content)
    raise MalformedEvidence(f"{len(content)} bytes in no known form of evidence")


def is_raw_quote(content: bytes) -> bool:
    """Return whether bytes begin like a TDX quote."""
    return content[:2] in _QUOTE_VERSIONS and content[4:8] == _TEE_TYPE


def report_in_container(content: bytes) -> bytes:
    """Return the report inside the blob of Azure's paravisor (docs/internals/attestation.md 4.1)."""
    return content[_HCL_HEADER_BYTES : _HCL_HEADER_BYTES + REPORT_BYTES]


def _from_report(content: bytes, carrier: str) -> Carried:
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
            hint="the evidence is the report it was issued for; 'evidence show' prints the certificate",
        )
    certificate = load_certificate(content, "the certificate")
    documents = {
        extension.oid.dotted_string: extension.value.public_bytes()
        for extension in certificate.extensions
        if extension.oid.dotted_string in (OID_SNP, OID_TDX)
    }
    if len(documents) != 1:
        raise MalformedEvidence(
            f"the certificate carries {len(documents)} evidence documents, wanted 1",
            hint="use a certificate of attested TLS; mesh certificates carry claims, not evidence",
        )
    ((oid, document),) = documents.items()
    return evidence_of(oid, document, "certificate of attested TLS")


def _is_of_amd(content: bytes) -> bool:
    """Return whether a certificate has AMD's form; the library will soon refuse their serial number 0."""
    try:
        parse_certificate(content)
    except MalformedEvidence:
        return False
    return True


def evidence_of(oid: str, document: bytes, carrier: str) -> Carried:
    """Return the evidence in a document of the kind that its extension names. Raises MalformedEvidence."""
    if oid == OID_TDX:
        return Carried(evidence=tdx_document.parse_document(document), carrier=carrier)
    return Carried(evidence=parse_document(document), carrier=carrier)


def _from_document(content: bytes) -> Carried:
    # Both kinds are protobuf messages that begin with the same byte; the fields differ.
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
