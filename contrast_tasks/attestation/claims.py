"""Claims of evidence as extensions of a mesh certificate, so that its holder's peers can read what the holder proved.

Source: docs/internals/attestation.md 2.9 (numbers below 1.3.9901.2.1) and 3.8 (numbers below 1.3.9901.2.2; the guest's only).
"""

from functools import lru_cache

from contrast_tasks.attestation.pki import der
from contrast_tasks.attestation.snp.expectation import ReportTcbs
from contrast_tasks.attestation.snp.report import SnpReport
from contrast_tasks.attestation.snp.tcb import Tcb
from contrast_tasks.attestation.snp.verify import SnpVerdict
from contrast_tasks.attestation.tdx.quote import BODY_1_0, TdReport
from contrast_tasks.attestation.tdx.verify import TdxVerdict
from contrast_tasks.evidence_documents import OID_SNP, OID_TDX

Claim = int | bool | bytes

_FIRST_TDX_CLAIM = 8


def claims_of(verdict: SnpVerdict | TdxVerdict) -> list[tuple[str, bytes]]:
    """Return (dotted OID, DER value) of each claim of accepted evidence, in the order of their numbers."""
    if isinstance(verdict, TdxVerdict):
        return tdx_claims_extensions(verdict.quote.body)
    return claims_extensions(verdict.report, verdict.tcbs)


def tdx_claims_extensions(body: TdReport) -> list[tuple[str, bytes]]:
    """Return (dotted OID, DER value) of the claims 8 to 22: the fields of a TD report, each as an OCTET STRING.

    Header and signatures are left out: they are large, and they describe the quote, not the guest.
    """
    return [
        (f"{OID_TDX}.{number}", _encode(claim))
        for number, claim in enumerate(BODY_1_0.values(body), start=_FIRST_TDX_CLAIM)
    ]


def claims_extensions(report: SnpReport, tcbs: ReportTcbs) -> list[tuple[str, bytes]]:
    """Return (dotted OID, DER value) of the 46 claims of a verified report, in the order of their numbers.

    tcbs: the report's verified levels; their layout depends on the product, which a report of version 2 does not name.
    Numbers become INTEGER, byte strings OCTET STRING, flags BOOLEAN. The extensions are meant to be non-critical.
    """
    return [
        (f"{OID_SNP}.{number}", _encode(claim))
        for number, claim in enumerate(_claims(report, tcbs), start=1)
    ]


def _claims(report: SnpReport, tcbs: ReportTcbs) -> tuple[Claim, ...]:
    return (
        report.version,
        report.guest_svn,
        report.policy >> 8 & 0xFF,
        report.policy & 0xFF,
        _bit(report.policy, 19),
        _bit(report.policy, 18),
        _bit(report.policy, 16),
        _bit(report.policy, 20),
        report.family_id,
        report.image_id,
        report.vmpl,
        *_levels(tcbs.current),
        _bit(report.platform_info, 0),
        _bit(report.platform_info, 1),
        report.author_key_enabled,
        _bit(report.signer_info, 1),
        report.signing_key,
        report.report_data,
        report.measurement,
        report.host_data,
        report.id_key_digest,
        report.author_key_digest,
        report.report_id,
        report.report_id_ma,
        *_levels(tcbs.reported),
        report.chip_id,
        *_levels(tcbs.committed),
        *reversed(report.current_version),
        *reversed(report.committed_version),
        *_levels(tcbs.launch),
    )


def _levels(tcb: Tcb) -> tuple[int, int, int, int]:
    return tcb.bootloader, tcb.snp, tcb.tee, tcb.microcode


def _bit(word: int, number: int) -> bool:
    return bool(word >> number & 1)


# Guests of one runtime have most claims in common. Typed, since True equals 1.
@lru_cache(maxsize=1024, typed=True)
def _encode(claim: Claim) -> bytes:
    if isinstance(claim, bool):
        return der.encode(der.BOOLEAN, b"\xff" if claim else b"\0")
    if isinstance(claim, int):
        return der.encode_integer(claim)
    return der.encode(der.OCTET_STRING, claim)
