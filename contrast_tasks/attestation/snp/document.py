"""The evidence document of SEV-SNP: report and certificates as protobuf `sevsnp.Attestation`.

Unknown fields are ignored, as the format demands; fields of the wrong length or type are not. Source: docs/internals/attestation.md 2.6.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from google.protobuf.message import DecodeError

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.proto import sevsnp_pb2 as pb
from contrast_tasks.attestation.snp.report import LAYOUT, SnpReport, parse_report
from contrast_tasks.evidence_documents import MAX_DOCUMENT_BYTES

EXTRA_CRL = "00569ee4-e480-4fba-bbf4-45b629901180"

_BASE_FAMILY = 0xF
_FMS_KNOWN = 0x0FFF0FFF
_PRODUCTS: Mapping[str, int] = {"Milan": 1, "Genoa": 2, "Turin": 3}
_PRODUCT_NAMES = {number: name for name, number in _PRODUCTS.items()}
# The message has one word where the report has three bytes.
_CPUID = ("cpuid_family", "cpuid_model", "cpuid_stepping")
_SAME_NAME = tuple(name for name in SnpReport.__dataclass_fields__ if name not in _CPUID)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnpDocument:
    """A report and what the peer sent with it; certificates are DER, empty if absent.

    product: the peer's unproven claim, `Milan`, `Genoa`, `Turin` or "". extras: by GUID; EXTRA_CRL holds a DER revocation list.
    """

    tee: ClassVar[str] = "SEV-SNP"

    report: SnpReport
    vcek_der: bytes = b""
    vlek_der: bytes = b""
    ask_der: bytes = b""
    ark_der: bytes = b""
    product: str = ""
    extras: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def report_data(self) -> bytes:
        """Return the 64 bytes of report data."""
        return self.report.report_data

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the guest's policy."""
        return self.report.host_data


def parse_document(document: bytes) -> SnpDocument:
    """Return the content of a document; raises MalformedEvidence, also if `parse_report` refuses the report."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise MalformedEvidence(
            f"the document has {len(document)} bytes, wanted at most {MAX_DOCUMENT_BYTES}",
            reason="document-length",
        )
    message = pb.Attestation()
    try:
        message.ParseFromString(document)
    except DecodeError as err:
        raise MalformedEvidence(
            "the document is not a protobuf attestation", reason="document"
        ) from err
    if not message.HasField("report"):
        raise MalformedEvidence("the document has no report", reason="document")
    chain = message.certificate_chain
    return SnpDocument(
        report=_report_from(message.report),
        vcek_der=chain.vcek_cert,
        vlek_der=chain.vlek_cert,
        ask_der=chain.ask_cert,
        ark_der=chain.ark_cert,
        product=_PRODUCT_NAMES.get(message.product.name, ""),
        extras=dict(chain.extras),
    )


def render_document(document: SnpDocument) -> bytes:
    """Return the bytes of a document, with fields in ascending order and extras sorted by key."""
    return render_report_part(document.report) + render_rest(document)


def render_report_part(report: SnpReport) -> bytes:
    """Return the bytes of the document's field `report`; protobuf messages can be concatenated."""
    return pb.Attestation(report=_message_of(report)).SerializeToString(deterministic=True)


def render_rest(document: SnpDocument) -> bytes:
    """Return the bytes of all other fields of the document."""
    message = pb.Attestation(
        certificate_chain=pb.CertificateChain(
            vcek_cert=document.vcek_der,
            vlek_cert=document.vlek_der,
            ask_cert=document.ask_der,
            ark_cert=document.ark_der,
            extras=dict(document.extras),
        )
    )
    if document.product in _PRODUCTS:
        message.product.name = pb.SevProduct.SevProductName.Name(_PRODUCTS[document.product])  # type: ignore[assignment]  # the stub wants the number type
        message.product.machine_stepping.SetInParent()
    return message.SerializeToString(deterministic=True)


def cpuid_to_fms(family: int, model: int, stepping: int) -> int:
    """Return family, model and stepping in the form of CPUID(1).EAX."""
    base, extended = (family, 0) if family < _BASE_FAMILY else (_BASE_FAMILY, family - _BASE_FAMILY)
    return extended << 20 | (model >> 4) << 16 | base << 8 | (model & 0xF) << 4 | stepping


def fms_to_cpuid(fms: int) -> tuple[int, int, int]:
    """Return (family, model, stepping) of CPUID(1).EAX; raises MalformedEvidence if `cpuid_to_fms` does not reverse it."""
    base, extended = fms >> 8 & 0xF, fms >> 20 & 0xFF
    family = base + extended if base == _BASE_FAMILY else base
    model = (fms >> 16 & 0xF) << 4 | fms >> 4 & 0xF
    if fms & ~_FMS_KNOWN or family > 0xFF or cpuid_to_fms(family, model, fms & 0xF) != fms:  # noqa: PLR2004
        raise MalformedEvidence(f"cpuid1eax_fms {fms:#x} is not a processor", reason="fms")
    return family, model, fms & 0xF


def _message_of(report: SnpReport) -> pb.Report:
    fields = {name: getattr(report, name) for name in _SAME_NAME}
    fms = cpuid_to_fms(report.cpuid_family, report.cpuid_model, report.cpuid_stepping)
    return pb.Report(**fields, cpuid1eax_fms=fms)


def _report_from(message: pb.Report) -> SnpReport:
    # Parsing the bytes applies the same rules to every report.
    cpuid = dict(zip(_CPUID, fms_to_cpuid(message.cpuid1eax_fms), strict=True))
    return parse_report(LAYOUT.render(message, cpuid))
