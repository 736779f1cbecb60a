"""The TDX quote, versions 4 and 5.

A quote has a header, a TD report body, and signature data, which contain a QE report and a PCK certificate chain. Nested
lengths must match exactly. Bytes after the signature data are ignored: hosts add padding, which is not signed.

Source: Intel TDX DCAP quoting library API, appendix "Quote Format"; offsets are checked against real quotes in the tests.
"""

import struct
from dataclasses import dataclass
from typing import Annotated, ClassVar

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.attestation.layout import At, Layout

MINIMUM_QUOTE_BYTES = 0x3FC
MAXIMUM_QUOTE_BYTES = 64 * 1024
MEASUREMENT_BYTES = 48

VERSION_4, VERSION_5 = 4, 5
ATTESTATION_KEY_ECDSA_P256 = 2
TEE_TYPE_TDX = 0x81
BODY_TYPE_TDX_1_0 = 2
BODY_TYPE_TDX_1_5 = 3
CERT_DATA_QE_REPORT = 6
CERT_DATA_PCK_CHAIN = 5
INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
# Type and size of the body, which precede it in version 5.
BODY_DESCRIPTOR = struct.Struct("<HI")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteHeader:
    """The first 48 bytes; `qe_svn` and `pce_svn` are libraries' names for two reserved words, zero in practice."""

    version: Annotated[int, At(0, "H")]
    attestation_key_type: Annotated[int, At(2, "H")]
    tee_type: Annotated[int, At(4, "I")]
    pce_svn: Annotated[bytes, At(8, "2s")]
    qe_svn: Annotated[bytes, At(10, "2s")]
    qe_vendor_id: Annotated[bytes, At(12, "16s")]
    user_data: Annotated[bytes, At(28, "20s")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """The TD report body, byte strings as in the quote; `tee_tcb_svn2` and `mr_service_td` are empty before TDX 1.5."""

    tee_tcb_svn: Annotated[bytes, At(0, "16s")]
    mr_seam: Annotated[bytes, At(16, "48s")]
    mr_signer_seam: Annotated[bytes, At(64, "48s")]
    seam_attributes: Annotated[bytes, At(112, "8s")]
    td_attributes: Annotated[bytes, At(120, "8s")]
    xfam: Annotated[bytes, At(128, "8s")]
    mr_td: Annotated[bytes, At(136, "48s")]
    mr_config_id: Annotated[bytes, At(184, "48s")]
    mr_owner: Annotated[bytes, At(232, "48s")]
    mr_owner_config: Annotated[bytes, At(280, "48s")]
    rtmrs: Annotated[tuple[bytes, bytes, bytes, bytes], At(328, "48s48s48s48s")]
    report_data: Annotated[bytes, At(520, "64s")]
    tee_tcb_svn2: Annotated[bytes, At(584, "16s")] = b""
    mr_service_td: Annotated[bytes, At(600, "48s")] = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class QeReport:
    """The quoting enclave's own SGX report. The reserved fields are signed too; their values are ignored."""

    cpu_svn: Annotated[bytes, At(0, "16s")]
    misc_select: Annotated[int, At(16, "I")]
    reserved1: Annotated[bytes, At(20, "28s")]
    attributes: Annotated[bytes, At(48, "16s")]
    mr_enclave: Annotated[bytes, At(64, "32s")]
    reserved2: Annotated[bytes, At(96, "32s")]
    mr_signer: Annotated[bytes, At(128, "32s")]
    reserved3: Annotated[bytes, At(160, "96s")]
    isv_prod_id: Annotated[int, At(256, "H")]
    isv_svn: Annotated[int, At(258, "H")]
    reserved4: Annotated[bytes, At(260, "60s")]
    report_data: Annotated[bytes, At(320, "64s")]


HEADER = Layout(QuoteHeader, 48, what="TDX quote header")
BODY_1_0 = Layout(TdReport, 584, what="TD report")
BODY_1_5 = Layout(TdReport, 648, what="TD report")
QE_REPORT = Layout(QeReport, 384, what="QE report")
BODIES = {BODY_TYPE_TDX_1_0: BODY_1_0, BODY_TYPE_TDX_1_5: BODY_1_5}


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxQuote:
    """A parsed quote.

    signed: the bytes that the attestation key signed, from header to end of body, as received.
    signature, attestation_key: 64 bytes each, big-endian r||s and x||y. qe_report_raw: the 384 bytes as received.
    pck_chain_raw: PEM as received, often with a NUL at the end. trailing: the bytes after the quote, never trusted.
    """

    tee: ClassVar[str] = "TDX"

    header: QuoteHeader
    body: TdReport
    signed: bytes
    signature: bytes
    attestation_key: bytes
    qe_report: QeReport
    qe_report_raw: bytes
    qe_report_signature: bytes
    qe_auth_data: bytes
    pck_chain_raw: bytes
    trailing: bytes
    signed_data_bytes: int

    @property
    def report_data(self) -> bytes:
        """Return the 64 bytes of report data."""
        return self.body.report_data

    @property
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the guest's policy; `claim_checks` checks that the rest of MRCONFIGID is zero."""
        return self.body.mr_config_id[:32]

    @property
    def pck_chain_pem(self) -> bytes:
        """Return the PCK chain without NULs at its end."""
        return self.pck_chain_raw.rstrip(b"\0")


class _Reader:
    """Reads a buffer piece by piece, with errors that name the field where it ends."""

    def __init__(self, content: bytes, what: str) -> None:
        self._content = content
        self._at = 0
        self._what = what

    def take(self, size: int, field: str) -> bytes:
        left = len(self._content) - self._at
        if size > left:
            raise MalformedEvidence(
                f"{self._what} ends inside {field}: {size} bytes wanted, {left} left"
            )
        piece = self._content[self._at : self._at + size]
        self._at += size
        return piece

    def number(self, size: int, field: str) -> int:
        return int.from_bytes(self.take(size, field), "little")

    def rest(self) -> bytes:
        return self._content[self._at :]

    def done(self) -> None:
        if self.rest():
            raise MalformedEvidence(
                f"{self._what} has {len(self.rest())} bytes more than its fields"
            )


def parse_quote(raw: bytes) -> TdxQuote:
    """Return the fields of a quote of version 4 or 5 with a TDX body.

    raw: 0x3FC bytes to 64 KiB. Raises MalformedEvidence, also if nested lengths do not match exactly.
    """
    if not MINIMUM_QUOTE_BYTES <= len(raw) <= MAXIMUM_QUOTE_BYTES:
        raise MalformedEvidence(
            f"TDX quote has {len(raw)} bytes, wanted {MINIMUM_QUOTE_BYTES} to {MAXIMUM_QUOTE_BYTES}"
        )
    reader = _Reader(raw, "TDX quote")
    header = _parse_header(reader.take(HEADER.size_bytes, "header"))
    layout = BODY_1_0
    if header.version == VERSION_5:
        layout = _described_layout(reader.take(BODY_DESCRIPTOR.size, "body type and size"))
    body = layout.parse(reader.take(layout.size_bytes, "TD report"))
    signed = raw[: len(raw) - len(reader.rest())]
    signature_data = reader.take(reader.number(4, "signature data length"), "signature data")
    return _parse_signature_data(
        signature_data, header=header, body=body, signed=signed, trailing=reader.rest()
    )


def _parse_header(raw: bytes) -> QuoteHeader:
    header = HEADER.parse(raw)
    if header.version not in (VERSION_4, VERSION_5):
        raise MalformedEvidence(f"TDX quote version is {header.version}, wanted 4 or 5")
    if header.attestation_key_type != ATTESTATION_KEY_ECDSA_P256:
        raise MalformedEvidence(
            f"TDX quote attestation key type is {header.attestation_key_type}, wanted 2 (ECDSA P-256)"
        )
    if header.tee_type != TEE_TYPE_TDX:
        raise MalformedEvidence(f"TDX quote TEE type is {header.tee_type:#x}, wanted 0x81 (TDX)")
    return header


def _described_layout(descriptor: bytes) -> Layout[TdReport]:
    """Return the layout of the body that follows; raises MalformedEvidence unless type and size match."""
    body_type, body_bytes = BODY_DESCRIPTOR.unpack(descriptor)
    layout = BODIES.get(body_type)
    if layout is None or layout.size_bytes != body_bytes:
        wanted = " or ".join(f"{kind} with {body.size_bytes}" for kind, body in BODIES.items())
        raise MalformedEvidence(
            f"TDX quote body type {body_type} has size {body_bytes}, wanted {wanted}"
        )
    return layout


def _parse_signature_data(
    raw: bytes, *, header: QuoteHeader, body: TdReport, signed: bytes, trailing: bytes
) -> TdxQuote:
    outer = _Reader(raw, "TDX signature data")
    signature = outer.take(64, "quote signature")
    attestation_key = outer.take(64, "attestation key")
    content = _typed(outer, CERT_DATA_QE_REPORT, "certification data")
    outer.done()
    inner = _Reader(content, "TDX certification data")
    qe_report_raw = inner.take(QE_REPORT.size_bytes, "QE report")
    qe_report_signature = inner.take(64, "QE report signature")
    auth_bytes = inner.number(2, "QE authentication data length")
    qe_auth_data = inner.take(auth_bytes, "QE authentication data")
    pck_chain = _typed(inner, CERT_DATA_PCK_CHAIN, "QE certification data")
    inner.done()
    return TdxQuote(
        header=header,
        body=body,
        signed=signed,
        signature=signature,
        attestation_key=attestation_key,
        qe_report=QE_REPORT.parse(qe_report_raw),
        qe_report_raw=qe_report_raw,
        qe_report_signature=qe_report_signature,
        qe_auth_data=qe_auth_data,
        pck_chain_raw=pck_chain,
        trailing=trailing,
        signed_data_bytes=len(raw),
    )


def _typed(reader: _Reader, wanted: int, what: str) -> bytes:
    """Return certification data after its type, which must be `wanted`, and its size."""
    found = reader.number(2, f"{what} type")
    if found != wanted:
        raise MalformedEvidence(f"TDX {what} has type {found}, wanted {wanted}")
    return reader.take(reader.number(4, f"{what} size"), what)
