"""Judge a TDX quote: from a genuine, patched platform, in the state the manifest demands, for this key, now.

`verify_genuine` answers the first part from the quote alone, `tcb_of` the second with Intel's collateral, `check_claims` the
third against one reference value. Everything is pure: bytes, expectations, collateral and the clock come in, facts or one
typed error come out. Without collateral the patch level is unknown, and unknown is a rejection.

Source: docs/internals/attestation.md 3.2 (signatures), 3.5 (status), 3.7 (claims).
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from contrast_tasks.attestation.errors import (
    Check,
    ClaimsRejected,
    CollateralUnavailable,
    MalformedEvidence,
    SignatureRejected,
    TcbRejected,
)
from contrast_tasks.attestation.tdx.collateral import (
    Collateral,
    VerifiedCollateral,
    verify_collateral,
)
from contrast_tasks.attestation.tdx.levels import TcbVerdict, evaluate_tcb
from contrast_tasks.attestation.tdx.pck import PckChain, p256_key, verify_pck_chain
from contrast_tasks.attestation.tdx.quote import INTEL_QE_VENDOR_ID, TdReport, TdxQuote
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.manifest.model import TdxReference

UP_TO_DATE = frozenset({TcbStatus.UpToDate})

# SEPT_VE_DISABLE, bit 28: the guest cannot be surprised by exceptions on its private pages.
TD_ATTRIBUTES = (1 << 28).to_bytes(8, "little")
_TD_DEBUG = 1 << 0
# DEBUG, SEPT_VE_DISABLE, PKS and PERFMON; everything else is reserved or unknown to us.
_TD_ATTRIBUTES_KNOWN = 1 << 0 | 1 << 28 | 1 << 30 | 1 << 63
_XFAM_FIXED_1 = 0x3
_XFAM_FIXED_0 = 0x0006DBE7
# Shadow stacks (CET, bits 11 and 12) depend on the host and weaken nothing: ignored on both sides.
_XFAM_CET = 1 << 11 | 1 << 12

CollateralSource = Callable[[bytes, str], Collateral | None]
"""FMSPC (6 bytes) and `platform` or `processor` to the collateral at hand; never fetches, never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxExpectation:
    """A reference value as bytes, made once per manifest; None leaves out a check that the manifest does not ask for.

    Lengths: mr_td, mr_seam and each of rtmrs 48; xfam, td_attributes 8; minimum_tee_tcb_svn, each of piids 16 bytes.
    minimum_qe_svn, minimum_pce_svn: for two words of the header that are zero in practice; 0, as generated, asks nothing.
    """

    mr_td: bytes
    mr_seam: bytes
    rtmrs: tuple[bytes, ...]
    xfam: bytes
    td_attributes: bytes = TD_ATTRIBUTES
    minimum_tee_tcb_svn: bytes | None = None
    piids: frozenset[bytes] = frozenset()
    memory_integrity: bool = False
    smt_disabled: bool = False
    static_platform: bool = False
    minimum_evaluation_number: int = 0
    minimum_qe_svn: int = 0
    minimum_pce_svn: int = 0

    @classmethod
    def of(cls, reference: TdxReference) -> "TdxExpectation":
        """Return the expectation of a manifest entry; an empty or odd-sized value is an error, never "unchecked"."""
        lowest = reference.minimum_tee_tcb_svn_hex
        return cls(
            mr_td=_sized(reference.mr_td_hex, 48, "MrTd"),
            mr_seam=_sized(reference.mr_seam_hex, 48, "MrSeam"),
            rtmrs=_four(reference.rtmrs_hex),
            xfam=_sized(reference.xfam_hex, 8, "Xfam"),
            td_attributes=(
                TD_ATTRIBUTES
                if reference.td_attributes_hex is None
                else _sized(reference.td_attributes_hex, 8, "TdAttributes")
            ),
            minimum_tee_tcb_svn=None if lowest is None else _sized(lowest, 16, "MinimumTeeTcbSvn"),
            piids=frozenset(
                _sized(piid, 16, "AllowedPIIDs") for piid in reference.allowed_piids or ()
            ),
            memory_integrity=bool(reference.memory_integrity),
            smt_disabled=bool(reference.smt_disabled),
            static_platform=bool(reference.static_platform),
            minimum_evaluation_number=reference.min_tcb_evaluation_data_number or 0,
            minimum_qe_svn=reference.minimum_qe_svn or 0,
            minimum_pce_svn=reference.minimum_pce_svn or 0,
        )


def _sized(text: str, size: int, member: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError as err:
        raise ClaimsRejected(
            [_failed(field=member, found=text, wanted=f"{size} bytes of hex")]
        ) from err
    if len(value) != size:
        raise ClaimsRejected(
            [
                _failed(
                    field=member,
                    found=f"{len(value)} bytes in the manifest",
                    wanted=f"{size} bytes",
                )
            ]
        )
    return value


def _four(texts: Collection[str]) -> tuple[bytes, ...]:
    rtmrs = tuple(_sized(text, 48, "Rtmrs") for text in texts)
    if len(rtmrs) != 4:  # noqa: PLR2004  # RTMR0 to RTMR3
        raise ClaimsRejected(
            [_failed(field="Rtmrs", found=f"{len(rtmrs)} values", wanted="4 values")]
        )
    return rtmrs


_RUNTIME_HINT = "the guest was started from another runtime release than the manifest trusts"
_HINTS = {
    "REPORTDATA": "the evidence was made for another key or another connection: a replay, or a relay in between",
    "TDATTRIBUTES.DEBUG": "the host can read the guest's memory: never trust it",
    "MRTD": _RUNTIME_HINT,
    "RTMR0": _RUNTIME_HINT,
    "RTMR1": _RUNTIME_HINT,
    "RTMR2": _RUNTIME_HINT,
    "RTMR3": "something in the guest extended a register that is left alone by the runtime",
    "MRSEAM": "the host runs another TDX module: MrSeam is the SHA-384 of the module that the manifest trusts",
    "TEE_TCB_SVN": "too old: update the host's TDX module, or lower MinimumTeeTcbSvn",
    "PIID": "add the platform to AllowedPIIDs if the machine is yours",
}


def _failed(*, field: str, found: str, wanted: str, reason: str = "") -> Check:
    return Check(
        reason=reason or field.split(maxsplit=1)[0].lower(),
        passed=False,
        found=found,
        wanted=wanted,
        field=field,
        hint=_HINTS.get(field, ""),
    )


def verify_genuine(
    quote: TdxQuote, *, root_spki: bytes, now: datetime, allow_v5: bool = False
) -> PckChain:
    """Verify that a genuine quoting enclave made the quote: body, QE report and PCK chain up to the pinned root.

    root_spki: DER SubjectPublicKeyInfo of the Intel SGX Root CA; allow_v5: quote version 5 is off by default.
    Returns the verified chain. Raises SignatureRejected, EndorsementRejected or MalformedEvidence.
    """
    if quote.header.version == 5 and not allow_v5:  # noqa: PLR2004  # quote version
        raise MalformedEvidence(
            "TDX quote version is 5, wanted 4; version 5 is not switched on",
            reason="quote-version",
            hint="to accept it, set reference_values.tdx.allow_quote_v5",
        )
    if quote.header.qe_vendor_id != INTEL_QE_VENDOR_ID:
        raise SignatureRejected(
            f"QE vendor id is {quote.header.qe_vendor_id.hex()}, wanted {INTEL_QE_VENDOR_ID.hex()}"
        )
    chain = verify_pck_chain(quote.pck_chain_pem, root_spki=root_spki, now=now)
    _verify_qe_report(quote, chain)
    _verify_p256(
        _attestation_key(quote.attestation_key), quote.signature, quote.signed, "TDX quote"
    )
    return chain


def _verify_qe_report(quote: TdxQuote, chain: PckChain) -> None:
    bound = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest() + bytes(32)
    if quote.qe_report.report_data != bound:
        raise SignatureRejected(
            "the QE report does not name the attestation key that signed the quote: "
            f"found {quote.qe_report.report_data.hex()}, wanted {bound.hex()}"
        )
    _require_signed_qe_report(quote.qe_report_raw, quote.qe_report_signature, chain.leaf)


@lru_cache(maxsize=256)
def _require_signed_qe_report(report: bytes, signature: bytes, leaf: x509.Certificate) -> None:
    """Verify once; a platform repeats its QE report, and what raises is not cached."""
    _verify_p256(p256_key(leaf, "PCK certificate"), signature, report, "QE report")


@lru_cache(maxsize=256)
def _attestation_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + raw)
    except ValueError as err:
        raise SignatureRejected("the attestation key is not a point of P-256") from err


def _verify_p256(
    key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes, what: str
) -> None:
    encoded = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    try:
        key.verify(encoded, content, ec.ECDSA(SHA256()))
    except InvalidSignature as err:
        raise SignatureRejected(f"{what}: the signature does not verify") from err


def tcb_of(
    quote: TdxQuote,
    chain: PckChain,
    collateral: Collateral | None,
    *,
    root_spki: bytes,
    now: datetime,
) -> tuple[TcbVerdict, VerifiedCollateral]:
    """Return the level the platform stands at. Raises CollateralUnavailable, CollateralRejected or TcbRejected."""
    if collateral is None:
        raise CollateralUnavailable(
            f"collateral not available for FMSPC {chain.facts.fmspc.hex()}",
            hint="fetch it beforehand; verification never waits for the network",
        )
    verified = verify_collateral(collateral, chain=chain, root_spki=root_spki, now=now)
    verdict = evaluate_tcb(
        body=quote.body,
        qe_report=quote.qe_report,
        pck_components=chain.facts.components,
        pck_pce_svn=chain.facts.pce_svn,
        tcb_info=verified.tcb_info,
        qe_identity=verified.qe_identity,
    )
    return verdict, verified


def require_status(verdict: TcbVerdict, allowed: Collection[TcbStatus] = UP_TO_DATE) -> None:
    """Raise TcbRejected unless the status is allowed; Revoked never is."""
    status = verdict.status
    if status in allowed and status is not TcbStatus.Revoked:
        return
    advisories = f", advisories {', '.join(verdict.advisories)}" if verdict.advisories else ""
    raise TcbRejected(
        f"TCB status is {status.name} (platform {verdict.platform.name}, module {verdict.module.name}, "
        f"quoting enclave {verdict.qe.name}), wanted {', '.join(sorted(item.name for item in allowed))}{advisories}",
        hint=_update_hint(verdict),
        reason=status.name,
    )


def _update_hint(verdict: TcbVerdict) -> str:
    if not verdict.lacking:
        return "the levels are the newest that Intel lists: see the advisories for what has to be configured"
    return (
        f"too old: {'; '.join(verdict.lacking)}; update the host's firmware and microcode (BIOS), TDX module "
        "or quoting enclave"
    )


def check_claims(  # one rule of the table after another
    quote: TdxQuote,
    chain: PckChain,
    expected: TdxExpectation,
    *,
    report_data: bytes,
    evaluation_number: int | None,
) -> None:
    """Compare what the quote claims with a reference value; collects every difference, then raises ClaimsRejected.

    report_data: the 64 bytes wanted; evaluation_number: the lowest in the collateral used, None if none was.
    """
    body = quote.body
    found: list[Check] = []
    _equal(found, "REPORTDATA", body.report_data, report_data)
    found += hardening_checks(body)
    _equal(found, "MRTD", body.mr_td, expected.mr_td)
    for index, (have, want) in enumerate(zip(body.rtmrs, expected.rtmrs, strict=True)):
        _equal(found, f"RTMR{index}", have, want)
    _equal(found, "MRSEAM", body.mr_seam, expected.mr_seam)
    _equal(found, "TDATTRIBUTES", body.td_attributes, expected.td_attributes)
    _equal_xfam(found, body.xfam, expected.xfam)
    _equal(found, "MROWNER", body.mr_owner, bytes(48))
    _equal(found, "MROWNERCONFIG", body.mr_owner_config, bytes(48))
    _equal(found, "MRCONFIGID bytes 32 to 47", body.mr_config_id[32:], bytes(16))
    if body.mr_service_td:
        _equal(found, "MRSERVICETD", body.mr_service_td, bytes(48))
    for field, word, least in (
        ("QE SVN of the header", quote.header.qe_svn, expected.minimum_qe_svn),
        ("PCE SVN of the header", quote.header.pce_svn, expected.minimum_pce_svn),
    ):
        svn = int.from_bytes(word, "little")
        if svn < least:
            found.append(_failed(field=field, found=str(svn), wanted=f"at least {least}"))
    lowest = expected.minimum_tee_tcb_svn
    if lowest is not None and any(
        have < want for have, want in zip(body.tee_tcb_svn, lowest, strict=True)
    ):
        found.append(
            _failed(
                field="TEE_TCB_SVN",
                found=body.tee_tcb_svn.hex(),
                wanted=f"at least {lowest.hex()} in every component",
            )
        )
    found += _platform_checks(chain, expected)
    if (
        expected.minimum_evaluation_number
        and (evaluation_number or 0) < expected.minimum_evaluation_number
    ):
        found.append(
            _failed(
                field="tcbEvaluationDataNumber",
                found=str(evaluation_number),
                wanted=f"at least {expected.minimum_evaluation_number}",
            )
        )
    if found:
        raise ClaimsRejected(found)


def hardening_checks(body: TdReport) -> list[Check]:
    """Return what is wrong with a TD whatever the manifest says: DEBUG, reserved attribute or XFAM bits."""
    found: list[Check] = []
    attributes = int.from_bytes(body.td_attributes, "little")
    xfam = int.from_bytes(body.xfam, "little")
    if attributes & _TD_DEBUG:
        found.append(_failed(field="TDATTRIBUTES.DEBUG", found="1", wanted="0", reason="debug"))
    if attributes & ~_TD_ATTRIBUTES_KNOWN:
        found.append(
            _failed(
                field="TDATTRIBUTES",
                found=body.td_attributes.hex(),
                wanted="no bit but 0, 28, 30 and 63",
            )
        )
    if xfam & _XFAM_FIXED_1 != _XFAM_FIXED_1 or xfam & ~_XFAM_FIXED_0:
        found.append(
            _failed(
                field="XFAM", found=body.xfam.hex(), wanted="bits 0 and 1, and none outside 0x6dbe7"
            )
        )
    return found


def _platform_checks(chain: PckChain, expected: TdxExpectation) -> list[Check]:
    facts = chain.facts
    found: list[Check] = []
    if expected.piids and facts.platform_instance_id not in expected.piids:
        piid = "none" if facts.platform_instance_id is None else facts.platform_instance_id.hex()
        found.append(_failed(field="PIID", found=piid, wanted="one of AllowedPIIDs", reason="piid"))
    if expected.memory_integrity and facts.sgx_type != 2:  # noqa: PLR2004  # scalable with integrity
        found.append(
            _failed(
                field="SGX type", found=str(facts.sgx_type), wanted="2 (scalable with integrity)"
            )
        )
    if expected.smt_disabled and facts.smt_enabled is not False:
        found.append(_failed(field="SMT enabled", found=str(facts.smt_enabled), wanted="False"))
    if expected.static_platform and facts.dynamic_platform is not False:
        found.append(
            _failed(field="dynamic platform", found=str(facts.dynamic_platform), wanted="False")
        )
    return found


def _equal(found: list[Check], field: str, have: bytes, want: bytes) -> None:
    if have != want:
        found.append(_failed(field=field, found=have.hex(), wanted=want.hex()))


def _equal_xfam(found: list[Check], have: bytes, want: bytes) -> None:
    ours = int.from_bytes(have, "little") & ~_XFAM_CET
    theirs = int.from_bytes(want, "little") & ~_XFAM_CET
    if ours != theirs:
        found.append(_failed(field="XFAM", found=have.hex(), wanted=want.hex()))
