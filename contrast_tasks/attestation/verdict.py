"""The end of every verdict: all checks must have passed, and the policy must be one of those allowed."""

from collections.abc import Collection, Iterable

from contrast_tasks.attestation.checks import Check
from contrast_tasks.attestation.errors import ClaimsRejected, WrongPolicyHash


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
