"""The TDX document in a certificate: the fields of a quote as a protobuf message.

The signatures cover the quote's bytes, so a document is converted back to them, and these are parsed and verified like any
quote. Sizes in the message must match the data. The version in the header selects the message: `QuoteV4`, or `QuoteV5`, which
has a typed body.

Source: docs/internals/attestation.md 3.6.
"""

import struct
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.proto import tdx_pb2
from contrast_tasks.attestation.tdx.quote import (
    BODIES,
    BODY_1_0,
    BODY_DESCRIPTOR,
    BODY_TYPE_TDX_1_0,
    BODY_TYPE_TDX_1_5,
    CERT_DATA_PCK_CHAIN,
    CERT_DATA_QE_REPORT,
    HEADER,
    QE_REPORT,
    VERSION_5,
    QeReport,
    QuoteHeader,
    TdReport,
    TdxQuote,
    parse_quote,
)
from contrast_tasks.evidence_documents import MAX_DOCUMENT_BYTES

_WHAT = "TDX document"


def parse_document(document: bytes) -> TdxQuote:
    """Return the quote in a document of at most 64 KiB. Raises MalformedEvidence."""
    return parse_quote(quote_bytes(document))


def quote_bytes(document: bytes) -> bytes:
    """Return the raw quote of a document; it has no trailing bytes. Raises MalformedEvidence."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise MalformedEvidence(
            f"TDX document has {len(document)} bytes, at most {MAX_DOCUMENT_BYTES}"
        )
    message: tdx_pb2.QuoteV4 | tdx_pb2.QuoteV5 = _read(tdx_pb2.QuoteV4(), document)
    if message.header.version == VERSION_5:
        message = _read(tdx_pb2.QuoteV5(), document)
    for part in ("header", "signed_data"):
        if not message.HasField(part):
            raise MalformedEvidence(f"TDX document lacks {part}")
    data = _signature_data(message.signed_data)
    _require_size(message.signed_data_size, data, "signed_data_size")
    if isinstance(message, tdx_pb2.QuoteV5):
        body = _described_body(message.td_quote_body_descriptor)
    else:
        body = BODY_1_0.render(message.td_quote_body, what=_WHAT)
    header = HEADER.render(message.header, what=_WHAT)
    return header + body + struct.pack("<I", len(data)) + data


_Message = TypeVar("_Message", tdx_pb2.QuoteV4, tdx_pb2.QuoteV5)


def _read(message: _Message, document: bytes) -> _Message:
    try:
        message.ParseFromString(document)
    except DecodeError as err:
        raise MalformedEvidence("TDX document is not a protobuf message") from err
    return message


def _described_body(descriptor: tdx_pb2.TDQuoteBodyDescriptor) -> bytes:
    kind = _short(descriptor.td_quote_body_type, "td_quote_body_type")
    body = BODIES.get(kind, BODY_1_0).render(descriptor.td_quote_body_v5, what=_WHAT)
    _require_size(descriptor.size, body, "td_quote_body_descriptor.size")
    return BODY_DESCRIPTOR.pack(kind, len(body)) + body


def _signature_data(message: tdx_pb2.Ecdsa256BitQuoteV4AuthData) -> bytes:
    outer = message.certification_data
    inner = outer.qe_report_certification_data
    auth, chain = inner.qe_auth_data, inner.pck_certificate_chain_data
    _require_size(auth.parsed_data_size, auth.data, "qe_auth_data.parsed_data_size")
    _require_size(chain.size, chain.pck_cert_chain, "pck_certificate_chain_data.size")
    content = (
        QE_REPORT.render(inner.qe_report, what=_WHAT)
        + _pair(inner.qe_report_signature, "qe_report_signature")
        + struct.pack("<H", _short(len(auth.data), "qe_auth_data"))
        + auth.data
        + _typed(chain.certificate_data_type, chain.pck_cert_chain)
    )
    _require_size(outer.size, content, "certification_data.size")
    return (
        _pair(message.signature, "signature")
        + _pair(message.ecdsa_attestation_key, "ecdsa_attestation_key")
        + _typed(outer.certificate_data_type, content)
    )


def _typed(kind: int, content: bytes) -> bytes:
    return struct.pack("<HI", _short(kind, "certificate_data_type"), len(content)) + content


def _short(value: int, field: str) -> int:
    if value >> 16:
        raise MalformedEvidence(f"TDX document: {field} is {value}, wanted at most 16 bits")
    return value


def _pair(value: bytes, field: str) -> bytes:
    """Return a signature or a point, which must be two numbers of 32 bytes."""
    if len(value) != 64:  # noqa: PLR2004
        raise MalformedEvidence(f"TDX document: {field} has {len(value)} bytes, wanted 64")
    return value


def _require_size(found: int, content: bytes, field: str) -> None:
    if found != len(content):
        raise MalformedEvidence(
            f"TDX document: {field} is {found}, the data has {len(content)} bytes"
        )


def render_document(quote: TdxQuote) -> bytes:
    """Return the document of a quote without its trailing bytes, with fields in canonical order."""
    chain, auth = quote.pck_chain_raw, quote.qe_auth_data
    certification = tdx_pb2.QEReportCertificationData(
        qe_report=tdx_pb2.EnclaveReport(**_fields(quote.qe_report)),
        qe_report_signature=quote.qe_report_signature,
        qe_auth_data=tdx_pb2.QeAuthData(parsed_data_size=len(auth), data=auth),
        pck_certificate_chain_data=tdx_pb2.PCKCertificateChainData(
            certificate_data_type=CERT_DATA_PCK_CHAIN, size=len(chain), pck_cert_chain=chain
        ),
    )
    size = len(quote.qe_report_raw) + 64 + 2 + len(auth) + 6 + len(chain)
    signed_data = tdx_pb2.Ecdsa256BitQuoteV4AuthData(
        signature=quote.signature,
        ecdsa_attestation_key=quote.attestation_key,
        certification_data=tdx_pb2.CertificationData(
            certificate_data_type=CERT_DATA_QE_REPORT,
            size=size,
            qe_report_certification_data=certification,
        ),
    )
    message: tdx_pb2.QuoteV4 | tdx_pb2.QuoteV5
    if quote.header.version == VERSION_5:
        message = tdx_pb2.QuoteV5(td_quote_body_descriptor=_descriptor(quote.body))
    else:
        message = tdx_pb2.QuoteV4(td_quote_body=tdx_pb2.TDQuoteBody(**_fields(quote.body)))
    message.header.CopyFrom(tdx_pb2.Header(**_fields(quote.header)))
    message.signed_data_size = quote.signed_data_bytes
    message.signed_data.CopyFrom(signed_data)
    return message.SerializeToString(deterministic=True)


def _descriptor(body: TdReport) -> tdx_pb2.TDQuoteBodyDescriptor:
    kind = BODY_TYPE_TDX_1_5 if body.tee_tcb_svn2 else BODY_TYPE_TDX_1_0
    return tdx_pb2.TDQuoteBodyDescriptor(
        td_quote_body_type=kind,
        size=BODIES[kind].size_bytes,
        td_quote_body_v5=tdx_pb2.TDQuoteBodyV5(**_fields(body)),
    )


def _fields(structure: QuoteHeader | TdReport | QeReport) -> dict[str, Any]:
    """Return the fields of a structure by the names in its message, without those that its version lacks."""
    values = {name: getattr(structure, name) for name in structure.__dataclass_fields__}
    return {name: value for name, value in values.items() if value != b""}
