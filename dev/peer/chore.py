"""`./doitw peer_suite DIR --images FILE`: our rules beside the decisions that a peer's suite of policy cases expects.

The requests of the suite leave out much of what a runtime sends. They are judged with that filled in (`completion`), by
the rules as they are shipped. A creation that leaves something out must be denied as it is, too.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from contrast_tasks.errors import UsageError
from contrast_tasks.kube.workloads import images as images_of
from contrast_tasks.policy.engine import ENGINES, Decision, PolicyEngineError
from dev.peer.judge import Answer, PeerGuest
from dev.peer.reading import expected, lived
from dev.peer.suite import PeerCase, PeerPod, read_images, read_suite
from dev.verdicts import Verdict, tell


def run_peer_suite(words: Sequence[str] = (), *, images: str = "") -> dict[str, Any]:
    """Judge every case; words: the folder; images: the file of images (dev/peer/suite.py).

    Raises UsageError if they are missing or malformed, SomeFailed if a decision differs.
    """
    if len(words) != 1 or not images:
        raise UsageError(
            "expected the folder of the suite, and --images with the file of its images"
        )
    counts = Counts()
    pods, known = read_suite(Path(words[0])), read_images(Path(images))
    verdicts = [verdict for pod in pods for verdict in verdicts_on(pod, known, counts)]
    return tell(verdicts, before_total=str(counts))


class Counts:
    """How many requests that the peer allows lack something, and how many of them are denied as they are."""

    def __init__(self) -> None:
        self.sparse = self.denied = 0

    def add(self, answer: Answer) -> None:
        """Count one request that the peer allows."""
        self.sparse += answer.sparse
        self.denied += answer.sparse and not answer.as_is.allowed

    def __str__(self) -> str:
        return f"{self.sparse} allowed requests lack something; as they are, {self.denied} of them are denied"


def verdicts_on(
    pod: PeerPod,
    images: Mapping[str, Mapping[str, Any]],
    counts: Counts,
    *,
    engine: str = ENGINES[0],
) -> Iterator[Verdict]:
    """Yield a verdict for each case of a pod."""
    missing = [each for each in images_of(pod.pod) if each not in images]
    if missing:
        for case in pod.cases:
            reason = f"the file of images has no {missing[0]}"
            yield Verdict(pod.name, case.description, reason)
        return
    data = expected(pod, images)
    guest = PeerGuest(data, lived(pod, images, data), engine=engine)
    for case in pod.cases:
        try:
            answer = guest.ask(case)
        except PolicyEngineError as err:
            yield Verdict(pod.name, case.description, str(err))
            continue
        if case.allowed:
            counts.add(answer)
        yield Verdict(pod.name, _described(case, answer), _reason(case, answer))


def _described(case: PeerCase, answer: Answer) -> str:
    told = _told(answer.completed)
    as_is = f"; as it is {_told(answer.as_is)}" if case.allowed and answer.sparse else ""
    return f"{case.description} ({told}{as_is})"


def _told(decision: Decision) -> str:
    if decision.allowed:
        return "allowed"
    codes = ", ".join(
        f"{code}({' '.join(names)})" if names else code
        for code, names in sorted(decision.codes.items())
    )
    return f"denied by {codes}" if codes else "denied"


def _reason(case: PeerCase, answer: Answer) -> str:
    if answer.completed.allowed != case.allowed:
        return f"expected {'allowed' if case.allowed else 'denied'}"
    is_creation = case.kind == "CreateContainerRequest"
    if case.allowed and is_creation and answer.sparse and answer.as_is.allowed:
        return "expected that it is denied as it is, because it leaves something out"
    return ""
