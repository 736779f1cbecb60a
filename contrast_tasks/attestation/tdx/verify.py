"""Verify a TDX quote: from a genuine, patched platform, now, for this key, in the state that the manifest demands.

`verify_genuine` verifies the first part from the quote alone, `tcb_of` the second with Intel's collateral, `TdxValidator.judge`
all of it. Nothing here does I/O: bytes, expectations, collateral and time come in, a verdict or one typed error comes out.
Without collateral the patch level is unknown, and the quote is refused.

Source: docs/internals/attestation.md 3.2 (signatures), 3.5 (status), 3.7 (claims).
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from contrast_tasks.attestation.checks import Check
from contrast_tasks.attestation.errors import (
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
from contrast_tasks.attestation.tdx.document import parse_document
from contrast_tasks.attestation.tdx.expectation import TdxExpectation, claim_checks
from contrast_tasks.attestation.tdx.levels import PatchLevel, evaluate_tcb
from contrast_tasks.attestation.tdx.pck import PckChain, has_signed, p256_key, verify_pck_chain
from contrast_tasks.attestation.tdx.quote import INTEL_QE_VENDOR_ID, VERSION_5, TdxQuote
from contrast_tasks.attestation.tdx.tcb import TcbStatus
from contrast_tasks.attestation.verdict import require_all, require_policy
from contrast_tasks.evidence_documents import OID_TDX

CollateralSource = Callable[[bytes, str], Collateral | None]
"""FMSPC (6 bytes) and `platform` or `processor` to the cached collateral; never fetches, never blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxVerdict:
    """A quote that the named reference value accepts; `checks` has all checks in order."""

    reference_name: str
    checks: tuple[Check, ...]
    quote: TdxQuote
    patch_level: PatchLevel

    @property
    def host_data(self) -> bytes:
        """Return the first 32 bytes of MRCONFIGID; the other 16 are zero."""
        return self.quote.host_data


@dataclass(frozen=True, slots=True, kw_only=True)
class TdxValidator:
    """Judges documents by one reference value; immutable, so handshakes can share it.

    name: for messages, as `tdx-0`. root_spki: the pinned root key. collateral: without it all evidence is refused.
    policy_hashes: if given, the policy must be one of these (hex). allow_v5: accept quotes of version 5.
    """

    name: str
    expectation: TdxExpectation
    root_spki: bytes
    collateral: CollateralSource | None = None
    policy_hashes: Collection[str] | None = None
    allow_v5: bool = False
    oid: str = OID_TDX

    def verify(self, document: bytes, report_data: bytes, now: datetime) -> TdxVerdict:
        """Return the verdict on a document (protobuf), the content of a certificate extension; otherwise as `judge`."""
        return self.judge(parse_document(document), report_data, now)

    def judge(self, quote: TdxQuote, report_data: bytes, now: datetime) -> TdxVerdict:
        """Return the verdict if the quote is genuine, up to date and in the demanded state; never uses the network.

        report_data: the 64 bytes that the evidence must hold.
        Raises HardwareRejected, or WrongPolicyHash if only the policy is not one of `policy_hashes`.
        """
        chain = verify_genuine(quote, root_spki=self.root_spki, now=now, allow_v5=self.allow_v5)
        bundle = self.collateral(chain.facts.fmspc, chain.authority) if self.collateral else None
        level, collateral = tcb_of(quote, chain, bundle, root_spki=self.root_spki, now=now)
        require_up_to_date(level)
        checks = require_all(
            claim_checks(
                quote,
                chain.facts,
                self.expectation,
                report_data=report_data,
                evaluation_number=collateral.evaluation_number,
            )
        )
        require_policy(quote.host_data, self.policy_hashes)
        return TdxVerdict(reference_name=self.name, checks=checks, quote=quote, patch_level=level)


def verify_genuine(
    quote: TdxQuote, *, root_spki: bytes, now: datetime, allow_v5: bool = False
) -> PckChain:
    """Verify that a genuine quoting enclave made the quote; return the PCK chain, verified up to the pinned root.

    root_spki: DER SubjectPublicKeyInfo of the Intel SGX Root CA. allow_v5: accept quotes of version 5.
    Raises SignatureRejected, EndorsementRejected or MalformedEvidence.
    """
    if quote.header.version == VERSION_5 and not allow_v5:
        raise MalformedEvidence(
            "TDX quote version is 5, wanted 4; version 5 is not enabled",
            reason="quote-version",
            hint="to accept it, set reference_values.tdx.allow_quote_v5",
        )
    if quote.header.qe_vendor_id != INTEL_QE_VENDOR_ID:
        raise SignatureRejected(
            f"QE vendor id is {quote.header.qe_vendor_id.hex()}, wanted {INTEL_QE_VENDOR_ID.hex()}"
        )
    chain = verify_pck_chain(quote.pck_chain_pem, root_spki=root_spki, now=now)
    _verify_qe_report(quote, chain)
    _verify_signature(
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
    """Verify once, for a platform repeats its QE report; failures are not cached."""
    _verify_signature(p256_key(leaf, "PCK certificate"), signature, report, "QE report")


@lru_cache(maxsize=256)
def _attestation_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + raw)
    except ValueError as err:
        raise SignatureRejected("the attestation key is not a point of P-256") from err


def _verify_signature(
    key: ec.EllipticCurvePublicKey, signature: bytes, content: bytes, what: str
) -> None:
    if not has_signed(key, signature, content):
        raise SignatureRejected(f"{what}: the signature does not verify")


def tcb_of(
    quote: TdxQuote,
    chain: PckChain,
    collateral: Collateral | None,
    *,
    root_spki: bytes,
    now: datetime,
) -> tuple[PatchLevel, VerifiedCollateral]:
    """Return the platform's patch level and the verified collateral.

    Raises CollateralUnavailable, CollateralRejected or TcbRejected.
    """
    if collateral is None:
        raise CollateralUnavailable(
            f"collateral not available for FMSPC {chain.facts.fmspc.hex()}",
            hint="fetch it beforehand; verification never uses the network",
        )
    verified = verify_collateral(collateral, chain=chain, root_spki=root_spki, now=now)
    level = evaluate_tcb(
        body=quote.body,
        qe_report=quote.qe_report,
        pck_components=chain.facts.components,
        pck_pce_svn=chain.facts.pce_svn,
        tcb_info=verified.tcb_info,
        qe_identity=verified.qe_identity,
    )
    return level, verified


def require_up_to_date(level: PatchLevel) -> None:
    """Raise TcbRejected unless the status is UpToDate."""
    if level.status is TcbStatus.UpToDate:
        return
    advisories = f", advisories {', '.join(level.advisories)}" if level.advisories else ""
    hint = "the levels are the newest that Intel lists: the advisories say what to configure"
    if level.lacking:
        parts = "firmware and microcode (BIOS), TDX module or quoting enclave"
        hint = f"too old: {'; '.join(level.lacking)}; update the host's {parts}"
    raise TcbRejected(
        f"TCB status is {level.status.name} (platform {level.platform.name}, module {level.module.name}, "
        f"quoting enclave {level.qe.name}), wanted UpToDate{advisories}",
        hint=hint,
        reason=level.status.name,
    )
