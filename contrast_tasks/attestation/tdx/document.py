"""The TDX document in a certificate: a quote taken apart into a protobuf message, and put together again.

A signature covers bytes, so a document is only a way to carry a quote: it is written back to the quote's bytes, and these are
parsed and verified like any other. Sizes in the message must agree with what is there. The header tells which of the two messages
it is: `QuoteV4`, or `QuoteV5` with a body that has a type.

Source: docs/internals/attestation.md 3.6.
"""

import struct
from typing import Any, TypeVar

from google.protobuf.message import DecodeError

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.proto import tdx_pb2
from contrast_tasks.attestation.tdx.quote import (
    BODY_TYPE_TDX_1_0,
    BODY_TYPE_TDX_1_5,
    CERT_DATA_PCK_CHAIN,
    CERT_DATA_QE_REPORT,
    QuoteHeader,
    TdReport,
    TdxQuote,
    parse_quote,
)

TDX_OID = "1.3.9901.2.2"
MAXIMUM_DOCUMENT_BYTES = 64 * 1024

_BODY_FIELDS = (
    ("tee_tcb_svn", 16),
    ("mr_seam", 48),
    ("mr_signer_seam", 48),
    ("seam_attributes", 8),
    ("td_attributes", 8),
    ("xfam", 8),
    ("mr_td", 48),
    ("mr_config_id", 48),
    ("mr_owner", 48),
    ("mr_owner_config", 48),
)
_BODY_FIELDS_1_5 = (("tee_tcb_svn2", 16), ("mr_service_td", 48))
_VERSION_5 = 5
_RTMRS, _RTMR_BYTES = 4, 48
_REPORT_FIELDS = (
    ("cpu_svn", 16),
    ("reserved1", 28),
    ("attributes", 16),
    ("mr_enclave", 32),
    ("reserved2", 32),
    ("mr_signer", 32),
    ("reserved3", 96),
    ("reserved4", 60),
    ("report_data", 64),
)


def parse_document(document: bytes) -> TdxQuote:
    """Return the quote a document carries; at most 64 KiB. Raises MalformedEvidence."""
    return parse_quote(quote_bytes(document))


def quote_bytes(document: bytes) -> bytes:
    """Return the raw quote that a document was made from, without the trailing bytes."""
    if len(document) > MAXIMUM_DOCUMENT_BYTES:
        raise MalformedEvidence(
            f"TDX document has {len(document)} bytes, at most {MAXIMUM_DOCUMENT_BYTES}"
        )
    message: tdx_pb2.QuoteV4 | tdx_pb2.QuoteV5 = _read(tdx_pb2.QuoteV4(), document)
    if message.header.version == _VERSION_5:
        message = _read(tdx_pb2.QuoteV5(), document)
    for part in ("header", "signed_data"):
        if not message.HasField(part):
            raise MalformedEvidence(f"TDX document lacks {part}")
    data = _signature_data(message.signed_data)
    _require_size(message.signed_data_size, len(data), "signed_data_size")
    if isinstance(message, tdx_pb2.QuoteV5):
        body = _described_body(message.td_quote_body_descriptor)
    else:
        body = _body(message.td_quote_body)
    return _header(message.header) + body + struct.pack("<I", len(data)) + data


_Message = TypeVar("_Message", tdx_pb2.QuoteV4, tdx_pb2.QuoteV5)


def _read(message: _Message, document: bytes) -> _Message:
    try:
        message.ParseFromString(document)
    except DecodeError as err:
        raise MalformedEvidence("TDX document is not a protobuf message") from err
    return message


def _described_body(descriptor: tdx_pb2.TDQuoteBodyDescriptor) -> bytes:
    message = descriptor.td_quote_body_v5
    body = _body(message)
    if descriptor.td_quote_body_type == BODY_TYPE_TDX_1_5:
        body += b"".join(
            _sized(getattr(message, name), size, name) for name, size in _BODY_FIELDS_1_5
        )
    _require_size(descriptor.size, len(body), "td_quote_body_descriptor.size")
    kind = _fits(descriptor.td_quote_body_type, 16, "td_quote_body_type")
    return struct.pack("<HI", kind, len(body)) + body


def render_document(quote: TdxQuote, *, with_trailing: bool = False) -> bytes:
    """Return the document of a quote, fields in canonical order; trailing bytes only if asked for."""
    report = quote.qe_report
    chain = quote.pck_chain_raw
    certification = tdx_pb2.QEReportCertificationData(
        qe_report=tdx_pb2.EnclaveReport(
            misc_select=report.misc_select,
            isv_prod_id=report.isv_prod_id,
            isv_svn=report.isv_svn,
            **{name: getattr(report, name) for name, _ in _REPORT_FIELDS},
        ),
        qe_report_signature=quote.qe_report_signature,
        qe_auth_data=tdx_pb2.QeAuthData(
            parsed_data_size=len(quote.qe_auth_data), data=quote.qe_auth_data
        ),
        pck_certificate_chain_data=tdx_pb2.PCKCertificateChainData(
            certificate_data_type=CERT_DATA_PCK_CHAIN, size=len(chain), pck_cert_chain=chain
        ),
    )
    size = len(quote.qe_report_raw) + 64 + 2 + len(quote.qe_auth_data) + 6 + len(chain)
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
    if quote.header.version == _VERSION_5:
        message = tdx_pb2.QuoteV5(td_quote_body_descriptor=_descriptor(quote.body))
    else:
        message = tdx_pb2.QuoteV4(td_quote_body=tdx_pb2.TDQuoteBody(**_body_values(quote.body)))
    message.header.CopyFrom(_header_message(quote.header))
    message.signed_data_size = quote.signed_data_bytes
    message.signed_data.CopyFrom(signed_data)
    if with_trailing:
        message.extra_bytes = quote.trailing
    return message.SerializeToString(deterministic=True)


def _header_message(header: QuoteHeader) -> tdx_pb2.Header:
    return tdx_pb2.Header(
        version=header.version,
        attestation_key_type=header.attestation_key_type,
        tee_type=header.tee_type,
        qe_svn=header.qe_svn,
        pce_svn=header.pce_svn,
        qe_vendor_id=header.qe_vendor_id,
        user_data=header.user_data,
    )


def _body_values(body: TdReport) -> dict[str, Any]:
    return {
        "rtmrs": list(body.rtmrs),
        "report_data": body.report_data,
        **{name: getattr(body, name) for name, _ in _BODY_FIELDS},
    }


def _descriptor(body: TdReport) -> tdx_pb2.TDQuoteBodyDescriptor:
    newer = {name: getattr(body, name) for name, _ in _BODY_FIELDS_1_5}
    return tdx_pb2.TDQuoteBodyDescriptor(
        td_quote_body_type=BODY_TYPE_TDX_1_5 if body.tee_tcb_svn2 else BODY_TYPE_TDX_1_0,
        size=len(body.to_bytes()),
        td_quote_body_v5=tdx_pb2.TDQuoteBodyV5(**_body_values(body), **newer),
    )


def _sized(value: bytes, size: int, field: str) -> bytes:
    if len(value) != size:
        raise MalformedEvidence(f"TDX document: {field} has {len(value)} bytes, wanted {size}")
    return value


def _fits(value: int, bits: int, field: str) -> int:
    if value >> bits:
        raise MalformedEvidence(f"TDX document: {field} is {value}, wanted at most {bits} bits")
    return value


def _require_size(found: int, wanted: int, field: str) -> None:
    if found != wanted:
        raise MalformedEvidence(f"TDX document: {field} is {found}, the data has {wanted} bytes")


def _header(message: tdx_pb2.Header) -> bytes:
    return (
        struct.pack(
            "<HHI",
            _fits(message.version, 16, "version"),
            _fits(message.attestation_key_type, 16, "attestation_key_type"),
            message.tee_type,
        )
        + _sized(message.pce_svn, 2, "pce_svn")
        + _sized(message.qe_svn, 2, "qe_svn")
        + _sized(message.qe_vendor_id, 16, "qe_vendor_id")
        + _sized(message.user_data, 20, "user_data")
    )


def _body(message: tdx_pb2.TDQuoteBody | tdx_pb2.TDQuoteBodyV5) -> bytes:
    fields = [_sized(getattr(message, name), size, name) for name, size in _BODY_FIELDS]
    if len(message.rtmrs) != _RTMRS:
        raise MalformedEvidence(f"TDX document has {len(message.rtmrs)} RTMRs, wanted {_RTMRS}")
    fields += [_sized(rtmr, _RTMR_BYTES, "rtmrs") for rtmr in message.rtmrs]
    return b"".join(fields) + _sized(message.report_data, 64, "report_data")


def _enclave_report(message: tdx_pb2.EnclaveReport) -> bytes:
    parts = {name: _sized(getattr(message, name), size, name) for name, size in _REPORT_FIELDS}
    return b"".join(
        (
            parts["cpu_svn"],
            struct.pack("<I", message.misc_select),
            parts["reserved1"],
            parts["attributes"],
            parts["mr_enclave"],
            parts["reserved2"],
            parts["mr_signer"],
            parts["reserved3"],
            struct.pack(
                "<HH",
                _fits(message.isv_prod_id, 16, "isv_prod_id"),
                _fits(message.isv_svn, 16, "isv_svn"),
            ),
            parts["reserved4"],
            parts["report_data"],
        )
    )


def _signature_data(message: tdx_pb2.Ecdsa256BitQuoteV4AuthData) -> bytes:
    outer = message.certification_data
    inner = outer.qe_report_certification_data
    auth, chain = inner.qe_auth_data, inner.pck_certificate_chain_data
    _require_size(auth.parsed_data_size, len(auth.data), "qe_auth_data.parsed_data_size")
    _require_size(chain.size, len(chain.pck_cert_chain), "pck_certificate_chain_data.size")
    content = (
        _enclave_report(inner.qe_report)
        + _sized(inner.qe_report_signature, 64, "qe_report_signature")
        + struct.pack("<H", _fits(len(auth.data), 16, "qe_auth_data"))
        + auth.data
        + struct.pack(
            "<HI", _fits(chain.certificate_data_type, 16, "inner certificate_data_type"), chain.size
        )
        + chain.pck_cert_chain
    )
    _require_size(outer.size, len(content), "certification_data.size")
    return (
        _sized(message.signature, 64, "signature")
        + _sized(message.ecdsa_attestation_key, 64, "ecdsa_attestation_key")
        + struct.pack(
            "<HI", _fits(outer.certificate_data_type, 16, "certificate_data_type"), outer.size
        )
        + content
    )
