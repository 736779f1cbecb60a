"""The verdict on evidence by one reference value; the same for every kind of hardware.

A verdict is always an acceptance. A refusal is one of the errors in `errors`.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from contrast_tasks.attestation.checks import Check
from contrast_tasks.attestation.errors import ClaimsRejected, WrongPolicyHash


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict(ABC):
    """Evidence that the named reference value accepts; `checks` has all checks in order."""

    reference_name: str
    checks: tuple[Check, ...]

    @property
    @abstractmethod
    def host_data(self) -> bytes:
        """Return the 32 bytes that name the guest's policy."""


def require_all(checks: Iterable[Check]) -> tuple[Check, ...]:
    """Return the checks if all of them passed, else raise ClaimsRejected with all of them."""
    made = tuple(checks)
    if not all(check.passed for check in made):
        raise ClaimsRejected(made)
    return made


def require_policy(host_data: bytes, policy_hashes: Collection[str] | None) -> None:
    """Raise WrongPolicyHash unless the guest's policy is one of `policy_hashes` (hex); None allows any."""
    if policy_hashes is not None and host_data.hex() not in policy_hashes:
        raise WrongPolicyHash(host_data.hex(), tuple(policy_hashes))
