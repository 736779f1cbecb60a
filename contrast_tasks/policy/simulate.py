"""Ask a policy for the requests of a pod's life, as its guest would (docs/internals/policy.md 10.5)."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine

# Nobody asks a policy about the first; the second is judged by the policy of the guest's image.
NOT_ASKED: Final = ("CheckRequest", "SetPolicyRequest")


# The agent answers such a denial with no data, so output that nobody may read is not in a pod's way.
_HIDDEN: Final = ("ReadStreamRequest", {"E_LOGS"})

Verdict = Literal["allowed", "denied", "hidden", "not asked"]


class Judged(NamedTuple):
    """A request and what the policy says to it, None if it is not asked; position: among the requests."""

    position: int
    request: Request
    decision: Decision | None

    @property
    def verdict(self) -> Verdict:
        """Return what becomes of the request; `hidden`: it is answered without what it asks for."""
        if self.decision is None:
            return "not asked"
        if self.decision.allowed:
            return "allowed"
        is_hidden = (self.request.kind, set(self.decision.codes)) == _HIDDEN
        return "hidden" if is_hidden else "denied"


def simulate(
    policy: bytes, requests: Iterable[Request], *, engine: str = ENGINES[0]
) -> tuple[Judged, ...]:
    """Return the decisions on all requests, asked in order in one guest.

    Raises PolicyEngineError if the engine is missing or fails.
    """
    guest = PolicyEngine(policy, engine=engine)
    return tuple(
        Judged(
            index,
            request,
            None if request.kind in NOT_ASKED else guest.ask(request.kind, request.input),
        )
        for index, request in enumerate(requests)
    )


def denials(
    policy: bytes, requests: Iterable[Request], *, engine: str = ENGINES[0]
) -> tuple[Judged, ...]:
    """Return only what the policy denies; arguments and errors as in `simulate`."""
    return tuple(
        each for each in simulate(policy, requests, engine=engine) if each.verdict == "denied"
    )
