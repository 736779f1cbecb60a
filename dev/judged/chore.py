"""`./doitw judged DIR`: what a policy generated for each recorded pod says to the requests that were recorded.

With `--bends N` it is also asked for N changes of them, each of one or two members, which it must deny unless the host may
choose the member.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Protocol

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import UsageError
from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngine, PolicyEngineError
from contrast_tasks.policy.host_choices import choices_of
from dev.judged.bending import Bent, bent_at_random
from dev.judged.cases import Case, find_cases
from dev.judged.denials import EXPECTED
from dev.verdicts import Verdict, tell


class Lived(Protocol):
    """A pod: the policy that was generated for it, and the requests of its life."""

    @property
    def name(self) -> str:
        """Return what verdicts call it."""

    def policy(self) -> bytes:
        """Return the policy."""

    def requests(self) -> Iterable[Request]:
        """Return the requests in order."""


def run_judged(words: Sequence[str] = (), bends: str = "") -> dict[str, Any]:
    """Judge every case; words: the folder. bends: how many changed requests, in all.

    Raises UsageError for another number of words or no number, SomeFailed if a case differs.
    """
    if len(words) != 1:
        raise UsageError(f"found {len(words)} words, expected one: the folder of the recordings")
    if bends and not bends.isdecimal():
        raise UsageError(f"found --bends {bends}, expected a number")
    cases = find_cases(Path(words[0]))
    share = -(-int(bends or 0) // len(cases))
    return tell(
        verdict
        for case in cases
        for verdict in (*verdicts_on(case), *(verdicts_on_bends(case, share) if share else ()))
    )


def verdicts_on(case: Case, *, engine: str = ENGINES[0]) -> Iterator[Verdict]:
    """Yield a verdict for each request, in order, or one if there is no policy."""
    try:
        guest = PolicyEngine(case.policy(), engine=engine)
    except FindingsError as error:
        yield Verdict(case.name, "policy", str(error))
        return
    for number, request in enumerate(case.requests()):
        decision = guest.ask(request.kind, request.input)
        yield Verdict(case.name, f"{number} {request.kind}", _reason(case, request, decision))


def verdicts_on_bends(case: Lived, count: int, *, engine: str = ENGINES[0]) -> Iterator[Verdict]:
    """Yield a verdict for each of so many changed requests; the same ones in every run."""
    drawn = random.Random(case.name)  # repeatable, not secret
    requests = list(case.requests())
    chosen = sorted(drawn.choices(range(len(requests)), k=count))
    guest = PolicyEngine(case.policy(), engine=engine)
    for number, request in enumerate(requests):
        state = guest.state
        for bent in bent_at_random(dict(request.input), chosen.count(number), drawn):
            yield Verdict(
                case.name,
                f"{number} {request.kind} {bent.where}: {bent.how}",
                _bent_reason(guest, request, bent),
            )
            guest.restore(state)
        guest.ask(request.kind, request.input)


def _reason(case: Case, request: Request, decision: Decision) -> str:
    wanted = [
        each
        for each in EXPECTED
        if each.kind == request.kind and fnmatch(case.path.name, each.case) and each.asks(request)
    ]
    if decision.allowed:
        return f"allowed, expected a denial: {wanted[0].why}" if wanted else ""
    if any(each.code in decision.codes for each in wanted):
        return ""
    return " ".join(decision.prints) or "denied without a word"


def _bent_reason(guest: PolicyEngine, request: Request, bent: Bent) -> str:
    try:
        decision = guest.ask(request.kind, bent.input)
    except PolicyEngineError as error:
        return str(error)
    if not decision.allowed:
        return "" if decision.prints else "denied without a word"
    changed = bent.where.split(" and ")
    chosen = [where for where in changed if any(choices_of(request.kind, where))]
    # What is changed inside of a value that the host put in is the host's too, and so is what it added itself.
    put_in = [f"{each[:-1]}unknown" if each.endswith("?") else each for each in chosen]
    left = [
        where
        for where in changed
        if where not in chosen and not any(f"{where}/".startswith(f"{each}/") for each in put_in)
    ]
    return f"allowed, and the host may not choose {left[0]}" if left else ""
