"""`./doitw judged DIR`: what a policy generated for each recorded pod says to the requests that were recorded."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from contrast_tasks.agent_messages import Request
from contrast_tasks.errors import UsageError
from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.engine import Decision, PolicyEngine
from dev.judged.cases import Case, find_cases
from dev.judged.denials import EXPECTED
from dev.verdicts import Verdict, tell


def run_judged(words: Sequence[str] = ()) -> dict[str, Any]:
    """Judge every case; words: the folder. Raises UsageError for another number of words, SomeFailed if one differs."""
    if len(words) != 1:
        raise UsageError(f"found {len(words)} words, expected one: the folder of the recordings")
    return tell(verdict for case in find_cases(Path(words[0])) for verdict in verdicts_on(case))


def verdicts_on(case: Case) -> Iterator[Verdict]:
    """Yield a verdict for each request, in order, or one if there is no policy."""
    try:
        guest = PolicyEngine(case.policy())
    except FindingsError as error:
        yield Verdict(case.name, "policy", str(error))
        return
    for number, request in enumerate(case.requests()):
        decision = guest.ask(request.kind, request.input)
        yield Verdict(case.name, f"{number} {request.kind}", _reason(case, request, decision))


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
