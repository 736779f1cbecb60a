"""Errors of hardware evidence, as branches of the project's tree.

EvidenceRejected
└── HardwareRejected         `.reason` is one word for machines
    ├── MalformedEvidence       bytes that do not have the form they must have
    ├── EndorsementRejected     the certificates do not lead to the pinned root, or not at this instant, or do not fit
    ├── Revoked                 the vendor has revoked the intermediate certificate
    ├── CollateralUnavailable   nothing at hand tells whether it is revoked, or how patched the platform is
    ├── CollateralRejected      what the vendor says of its platforms is forged, outdated, or about another platform
    ├── TcbRejected             the patch level is known and not acceptable
    ├── SignatureRejected       a signature does not verify, or not over what it should
    └── ClaimsRejected          genuine, but not in the state the manifest demands; `.checks` has every check
MismatchError
└── WrongPolicyHash          the evidence is fine, but its policy is not the Coordinator's
"""

from collections.abc import Sequence

from contrast_tasks.attestation.checks import Check
from contrast_tasks.errors import EvidenceRejected, MismatchError


class HardwareRejected(EvidenceRejected):
    """Base of the rejections of hardware evidence."""

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason or self.reason


_REASONS_OF_TIME = frozenset(
    {
        "certificate-expired",
        "certificate-not-yet-valid",
        "collateral-expired",
        "collateral-not-yet-valid",
    }
)


def is_about_time(error: EvidenceRejected) -> bool:
    """Return whether the only fault is the instant of the verdict, so that at another it may be accepted."""
    return isinstance(error, HardwareRejected) and error.reason in _REASONS_OF_TIME


class MalformedEvidence(HardwareRejected):
    """Bytes that do not have the form they must have."""

    reason = "malformed"


class EndorsementRejected(HardwareRejected):
    """The endorsement certificate does not lead to the pinned root, is not valid now, or is for another chip or TCB."""

    reason = "chain"


class Revoked(HardwareRejected):
    """The vendor's revocation list names the intermediate certificate."""

    reason = "revoked"


class CollateralUnavailable(HardwareRejected):
    """No usable revocation list or patch level is at hand; without one the evidence is refused."""

    reason = "collateral-unavailable"


class CollateralRejected(HardwareRejected):
    """What the vendor says of its platforms is forged, outdated, or about another platform."""

    reason = "collateral"


class TcbRejected(HardwareRejected):
    """The patch level is known and not acceptable."""

    reason = "tcb"


class SignatureRejected(HardwareRejected):
    """The report's signature does not verify."""

    reason = "signature"


class ClaimsRejected(HardwareRejected):
    """The evidence is genuine but claims another state; the first failing check leads the message."""

    def __init__(self, checks: Sequence[Check]) -> None:
        failed = [check for check in checks if not check.passed]
        hints = dict.fromkeys(check.hint for check in failed if check.hint)
        super().__init__(
            "; ".join(map(str, failed)), hint="; ".join(hints), reason=failed[0].reason
        )
        self.checks = tuple(checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the failing checks in the order they were made."""
        return tuple(check for check in self.checks if not check.passed)


class WrongPolicyHash(MismatchError):
    """The peer proved that it runs another policy than any Coordinator policy of the manifest."""

    def __init__(self, found_hex: str, wanted_hex: Sequence[str]) -> None:
        wanted = ", ".join(wanted_hex) or "none: no policy has the role coordinator"
        super().__init__(
            f"wrong policy hash for the coordinator: found {found_hex}, wanted {wanted}",
            hint="the coordinator was started with another policy than this manifest's: "
            "use the manifest it was deployed with, or deploy it again",
        )
        self.found_hex = found_hex
        self.wanted_hex = tuple(wanted_hex)
