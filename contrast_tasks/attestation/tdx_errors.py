"""Errors of TDX evidence, as branches of the project's tree.

EvidenceRejected
├── MalformedEvidence       bytes that do not have the form they must have
├── SignatureRejected       a signature does not verify, or not over what it should
├── ChainRejected           a certificate chain does not lead to the pinned root, or not at this instant
├── CollateralRejected      collateral is forged, outdated, or about another platform
├── CollateralUnavailable   no collateral at hand; the patch level is unknown
├── TcbRejected             the patch level is known and not acceptable
└── ClaimsRejected          genuine and patched, but not in the state that the manifest demands

Every error carries `reason`, one word for machines.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from contrast_tasks.attestation.errors import MalformedEvidence
from contrast_tasks.errors import EvidenceRejected

__all__ = ["MalformedEvidence"]


class _TdxRejected(EvidenceRejected):
    default_reason = "rejected"

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or self.default_reason


class SignatureRejected(_TdxRejected):
    """A signature does not verify, or not over what it should."""

    default_reason = "signature"


class ChainRejected(_TdxRejected):
    """A certificate chain does not lead to the pinned root, or not at this instant."""

    default_reason = "chain"


class CollateralRejected(_TdxRejected):
    """Collateral is forged, outdated, or about another platform."""

    default_reason = "collateral"


class CollateralUnavailable(_TdxRejected):
    """No collateral is at hand, so the patch level is unknown."""

    default_reason = "collateral-unavailable"


class TcbRejected(_TdxRejected):
    """The patch level is known and not acceptable."""

    default_reason = "tcb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """One claim that differs: the field, what the evidence says and what was wanted; reason is one word."""

    field: str
    found: str
    wanted: str
    reason: str = "mismatch"

    def __str__(self) -> str:
        return f"{self.field} is {self.found}, wanted {self.wanted}"


class ClaimsRejected(_TdxRejected):
    """The evidence is genuine but claims another state; `.mismatches` has every difference, the first one leads."""

    def __init__(self, mismatches: Sequence[Mismatch]) -> None:
        super().__init__("; ".join(map(str, mismatches)), reason=mismatches[0].reason)
        self.mismatches = tuple(mismatches)
