"""Errors of hardware evidence, as branches of the project's tree.

EvidenceRejected
└── HardwareRejected         `.reason` is one word for machines
    ├── MalformedEvidence       the bytes do not have the required form
    ├── EndorsementRejected     a certificate does not lead to the pinned root, is not valid now, or is for another chip or TCB
    ├── Revoked                 the vendor has revoked the intermediate certificate
    ├── CollateralUnavailable   no revocation list or patch level is available
    ├── CollateralRejected      the vendor's publication is forged, outdated, or for another platform
    ├── TcbRejected             the patch level is known and not acceptable
    ├── SignatureRejected       a signature does not verify, or covers something else
    └── ClaimsRejected          genuine, but not in the state that the manifest demands; `.checks` has every check
MismatchError
└── WrongPolicyHash          the evidence is acceptable, but its policy is not the Coordinator's
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
    """Return whether the time of the verdict is the only fault, so that at another time it may be acceptable."""
    return isinstance(error, HardwareRejected) and error.reason in _REASONS_OF_TIME


class MalformedEvidence(HardwareRejected):
    """The bytes do not have the required form."""

    reason = "malformed"


class EndorsementRejected(HardwareRejected):
    """A certificate does not lead to the pinned root, is not valid now, or is for another chip or TCB."""

    reason = "chain"


class Revoked(HardwareRejected):
    """The vendor's revocation list names the intermediate certificate."""

    reason = "revoked"


class CollateralUnavailable(HardwareRejected):
    """No usable revocation list or patch level is available; without one the evidence is refused."""

    reason = "collateral-unavailable"


class CollateralRejected(HardwareRejected):
    """The vendor's publication is forged, outdated, or for another platform."""

    reason = "collateral"


class TcbRejected(HardwareRejected):
    """The patch level is known and not acceptable."""

    reason = "tcb"


class SignatureRejected(HardwareRejected):
    """A signature does not verify, or covers something else."""

    reason = "signature"


class ClaimsRejected(HardwareRejected):
    """The evidence is genuine but claims another state; the message lists the failed checks."""

    def __init__(self, checks: Sequence[Check]) -> None:
        failed = [check for check in checks if not check.passed]
        hints = dict.fromkeys(check.hint for check in failed if check.hint)
        super().__init__(
            "; ".join(map(str, failed)), hint="; ".join(hints), reason=failed[0].reason
        )
        self.checks = tuple(checks)

    @property
    def failed(self) -> tuple[Check, ...]:
        """Return the failed checks in order."""
        return tuple(check for check in self.checks if not check.passed)


class WrongPolicyHash(MismatchError):
    """The peer runs a policy that is no Coordinator policy of the manifest."""

    def __init__(self, found_hex: str, wanted_hex: Sequence[str]) -> None:
        wanted = ", ".join(wanted_hex) or "none: no policy has the role coordinator"
        super().__init__(
            f"wrong policy hash for the coordinator: found {found_hex}, wanted {wanted}",
            hint="the coordinator was started with another policy than this manifest's: "
            "use the manifest it was deployed with, or deploy it again",
        )
        self.found_hex = found_hex
        self.wanted_hex = tuple(wanted_hex)
