"""The TDX quote, versions 4 and 5: bytes in, fields out, and back.

A quote is a header, a TD report body and signature data that nest a QE report and a PCK certificate chain. Every length
inside is given twice, once by the field itself and once by what contains it; both must agree. What follows the
signature data is ignored: hosts pad it, and nothing signs it.

Source: Intel TDX DCAP quoting library API, appendix "Quote Format"; offsets are checked against real quotes in the tests.
"""

import struct
from dataclasses import dataclass

from contrast_tasks.attestation.errors import MalformedEvidence

HEADER_BYTES = 48
BODY_BYTES_1_0 = 584
BODY_BYTES_1_5 = 648
MINIMUM_QUOTE_BYTES = 0x3FC
MAXIMUM_QUOTE_BYTES = 64 * 1024

ATTESTATION_KEY_ECDSA_P256 = 2
TEE_TYPE_TDX = 0x81
BODY_TYPE_TDX_1_0 = 2
BODY_TYPE_TDX_1_5 = 3
CERT_DATA_QE_REPORT = 6
CERT_DATA_PCK_CHAIN = 5
INTEL_QE_VENDOR_ID = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")

_QE_REPORT_BYTES = 384
_BODY = struct.Struct("<16s48s48s8s8s8s48s48s48s48s48s48s48s48s64s")
_QE_REPORT = struct.Struct("<16sI28s16s32s32s32s96sHH60s64s")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteHeader:
    """The first 48 bytes; `qe_svn` and `pce_svn` are two reserved words that libraries named so, zero in practice."""

    version: int
    attestation_key_type: int
    tee_type: int
    pce_svn: bytes
    qe_svn: bytes
    qe_vendor_id: bytes
    user_data: bytes

    def to_bytes(self) -> bytes:
        """Return the 48 bytes of the header."""
        return (
            struct.pack("<HHI", self.version, self.attestation_key_type, self.tee_type)
            + self.pce_svn
            + self.qe_svn
            + self.qe_vendor_id
            + self.user_data
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdReport:
    """The TD report body; byte strings as in the quote, `tee_tcb_svn2` and `mr_service_td` only from TDX 1.5 (else empty).

    Lengths: the two SVNs 16, attributes and XFAM 8, report data 64, every measurement 48 bytes.
    """

    tee_tcb_svn: bytes
    mr_seam: bytes
    mr_signer_seam: bytes
    seam_attributes: bytes
    td_attributes: bytes
    xfam: bytes
    mr_td: bytes
    mr_config_id: bytes
    mr_owner: bytes
    mr_owner_config: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn2: bytes = b""
    mr_service_td: bytes = b""

    def to_bytes(self) -> bytes:
        """Return the 584 bytes of a TDX 1.0 body, or the 648 bytes of a TDX 1.5 body."""
        return b"".join(
            (
                self.tee_tcb_svn,
                self.mr_seam,
                self.mr_signer_seam,
                self.seam_attributes,
                self.td_attributes,
                self.xfam,
                self.mr_td,
                self.mr_config_id,
                self.mr_owner,
                self.mr_owner_config,
                *self.rtmrs,
                self.report_data,
                self.tee_tcb_svn2,
                self.mr_service_td,
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class QeReport:
    """The quoting enclave's own SGX report, 384 bytes."""

    cpu_svn: bytes
    misc_select: int
    reserved1: bytes
    attributes: bytes
    mr_enclave: bytes
    reserved2: bytes
    mr_signer: bytes
    reserved3: bytes
    isv_prod_id: int
    isv_svn: int
    reserved4: bytes
    report_data: bytes

    def to_bytes(self) -> bytes:
        """Return the 384 bytes."""
        return _QE_REPORT.pack(
            self.cpu_svn,
            self.misc_select,
            self.reserved1,
            self.attributes,
            self.mr_enclave,
            self.reserved2,
            self.mr_signer,
            self.reserved3,
            self.isv_prod_id,
            self.isv_svn,
            self.reserved4,
            self.report_data,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxQuote:
    """A parsed quote.

    signed: the bytes the attestation key signed, header to end of body, as received.
    signature, attestation_key: 64 bytes each, big-endian r||s and x||y; qe_report_raw: the 384 bytes as received.
    pck_chain_raw: the certificates as sent, in PEM, often with a NUL at the end; trailing: whatever followed, never trusted.
    """

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
    def pck_chain_pem(self) -> bytes:
        """Return the PCK chain without NULs at its end."""
        return self.pck_chain_raw.rstrip(b"\0")


class _Reader:
    """Takes pieces off a buffer and says where it ran out."""

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

    def u16(self, field: str) -> int:
        return int.from_bytes(self.take(2, field), "little")

    def u32(self, field: str) -> int:
        return int.from_bytes(self.take(4, field), "little")

    def rest(self) -> bytes:
        piece = self._content[self._at :]
        self._at = len(self._content)
        return piece

    def done(self) -> None:
        left = len(self._content) - self._at
        if left:
            raise MalformedEvidence(f"{self._what} has {left} bytes more than its fields")


def parse_quote(raw: bytes) -> TdxQuote:
    """Split a quote into its fields; versions 4 and 5 with a TDX body.

    raw: 0x3FC bytes to 64 KiB. Raises MalformedEvidence for anything whose lengths do not nest exactly.
    """
    if not MINIMUM_QUOTE_BYTES <= len(raw) <= MAXIMUM_QUOTE_BYTES:
        raise MalformedEvidence(
            f"TDX quote has {len(raw)} bytes, wanted {MINIMUM_QUOTE_BYTES} to {MAXIMUM_QUOTE_BYTES}"
        )
    reader = _Reader(raw, "TDX quote")
    header = _parse_header(reader.take(HEADER_BYTES, "header"))
    body_start = HEADER_BYTES
    body_bytes = BODY_BYTES_1_0
    if header.version == 5:  # noqa: PLR2004  # quote version
        body_type = reader.u16("body type")
        body_bytes = reader.u32("body size")
        body_start += 6
        wanted = {BODY_TYPE_TDX_1_0: BODY_BYTES_1_0, BODY_TYPE_TDX_1_5: BODY_BYTES_1_5}.get(
            body_type
        )
        if body_bytes != wanted:
            raise MalformedEvidence(
                f"TDX quote body type {body_type} has size {body_bytes}, wanted "
                f"{BODY_TYPE_TDX_1_0} with {BODY_BYTES_1_0} or {BODY_TYPE_TDX_1_5} with {BODY_BYTES_1_5}"
            )
    body = parse_td_report(reader.take(body_bytes, "TD report"))
    signature_data = reader.take(reader.u32("signature data length"), "signature data")
    return _parse_signature_data(
        signature_data,
        header=header,
        body=body,
        signed=raw[: body_start + body_bytes],
        trailing=reader.rest(),
    )


def _parse_header(raw: bytes) -> QuoteHeader:
    version, key_type, tee_type = struct.unpack_from("<HHI", raw)
    if version not in (4, 5):
        raise MalformedEvidence(f"TDX quote version is {version}, wanted 4 or 5")
    if key_type != ATTESTATION_KEY_ECDSA_P256:
        raise MalformedEvidence(
            f"TDX quote attestation key type is {key_type}, wanted 2 (ECDSA P-256)"
        )
    if tee_type != TEE_TYPE_TDX:
        raise MalformedEvidence(f"TDX quote TEE type is {tee_type:#x}, wanted 0x81 (TDX)")
    return QuoteHeader(
        version=version,
        attestation_key_type=key_type,
        tee_type=tee_type,
        pce_svn=raw[8:10],
        qe_svn=raw[10:12],
        qe_vendor_id=raw[12:28],
        user_data=raw[28:48],
    )


def parse_td_report(raw: bytes) -> TdReport:
    """Split a TD report body of 584 bytes (TDX 1.0) or 648 bytes (TDX 1.5)."""
    if len(raw) not in (BODY_BYTES_1_0, BODY_BYTES_1_5):
        raise MalformedEvidence(
            f"TD report has {len(raw)} bytes, wanted {BODY_BYTES_1_0} or {BODY_BYTES_1_5}"
        )
    fields = _BODY.unpack_from(raw)
    newer = len(raw) == BODY_BYTES_1_5
    return TdReport(
        tee_tcb_svn=fields[0],
        mr_seam=fields[1],
        mr_signer_seam=fields[2],
        seam_attributes=fields[3],
        td_attributes=fields[4],
        xfam=fields[5],
        mr_td=fields[6],
        mr_config_id=fields[7],
        mr_owner=fields[8],
        mr_owner_config=fields[9],
        rtmrs=(fields[10], fields[11], fields[12], fields[13]),
        report_data=fields[14],
        tee_tcb_svn2=raw[BODY_BYTES_1_0 : BODY_BYTES_1_0 + 16] if newer else b"",
        mr_service_td=raw[BODY_BYTES_1_0 + 16 :] if newer else b"",
    )


def parse_qe_report(raw: bytes) -> QeReport:
    """Split the quoting enclave's report of 384 bytes."""
    if len(raw) != _QE_REPORT_BYTES:
        raise MalformedEvidence(f"QE report has {len(raw)} bytes, wanted {_QE_REPORT_BYTES}")
    return QeReport(**dict(zip(QeReport.__dataclass_fields__, _QE_REPORT.unpack(raw), strict=True)))


def _parse_signature_data(
    raw: bytes, *, header: QuoteHeader, body: TdReport, signed: bytes, trailing: bytes
) -> TdxQuote:
    outer = _Reader(raw, "TDX signature data")
    signature = outer.take(64, "quote signature")
    attestation_key = outer.take(64, "attestation key")
    _require_type(outer.u16("certification data type"), CERT_DATA_QE_REPORT, "certification data")
    content = outer.take(outer.u32("certification data size"), "certification data")
    outer.done()
    inner = _Reader(content, "TDX certification data")
    qe_report_raw = inner.take(_QE_REPORT_BYTES, "QE report")
    qe_report_signature = inner.take(64, "QE report signature")
    qe_auth_data = inner.take(inner.u16("QE authentication data length"), "QE authentication data")
    _require_type(inner.u16("PCK chain type"), CERT_DATA_PCK_CHAIN, "QE certification data")
    pck_chain = inner.take(inner.u32("PCK chain size"), "PCK chain")
    inner.done()
    return TdxQuote(
        header=header,
        body=body,
        signed=signed,
        signature=signature,
        attestation_key=attestation_key,
        qe_report=parse_qe_report(qe_report_raw),
        qe_report_raw=qe_report_raw,
        qe_report_signature=qe_report_signature,
        qe_auth_data=qe_auth_data,
        pck_chain_raw=pck_chain,
        trailing=trailing,
        signed_data_bytes=len(raw),
    )


def _require_type(found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise MalformedEvidence(f"TDX {what} has type {found}, wanted {wanted}")
