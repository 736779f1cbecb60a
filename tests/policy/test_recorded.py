"""Recorded requests of real shims (data only, from outside the repository): each is allowed, and bent it is denied.

The recordings are those of testdata/shim; their README says which shim, configuration and containerd each folder is of.
"""

import random

import pytest

from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from dev.judged.bending import bent_at_random
from dev.judged.cases import Case, find_cases
from dev.judged.chore import verdicts_on, verdicts_on_bends
from tests.fakes.sweeps import rest_swept
from tests.fakes.testdata import SHIM_RECORDINGS

if not SHIM_RECORDINGS.is_dir():
    pytest.skip(
        "the recordings lie outside the repository and are not here", allow_module_level=True
    )

CASES = find_cases(SHIM_RECORDINGS)
# As many as keep the suite short; `./doitw judged` bends any number.
BENT, BENDS = CASES[::4], 100
COMPARED, QUESTIONS = CASES[::10], 3
# One of each folder in the unit suite.
FIRST = {case.path.parent.name: case.name for case in reversed(CASES)}


def _name(case: Case) -> str:
    return case.name


@pytest.mark.parametrize(
    ("case", "engine"),
    rest_swept(
        [
            (case, engine)
            for engine in ENGINES
            for case in CASES[:: 1 if engine == ENGINES[0] else 3]
        ],
        kept=lambda case, _engine: case.name in FIRST.values(),
    ),
    ids=lambda each: each.name if isinstance(each, Case) else each,
)
def test_every_recorded_request_is_decided_as_it_should_be(case: Case, engine: str) -> None:
    verdicts = list(verdicts_on(case, engine=engine))

    assert [str(each) for each in verdicts if each.reason] == []
    assert verdicts


@pytest.mark.sweep
@pytest.mark.parametrize("case", BENT, ids=_name)
def test_what_is_bent_is_denied_unless_the_host_may_choose_it(case: Case) -> None:
    verdicts = list(verdicts_on_bends(case, BENDS))

    assert [str(each) for each in verdicts if each.reason] == []


def test_at_least_two_thousand_are_bent() -> None:
    assert len(BENT) * BENDS >= 2000


@pytest.mark.sweep
@pytest.mark.parametrize("case", COMPARED, ids=_name)
def test_both_engines_decide_alike_on_what_is_bent(case: Case) -> None:
    drawn, policy = random.Random(case.name), case.policy()  # repeatable, not secret
    guests = [PolicyEngine(policy, engine=engine) for engine in ENGINES]

    for request in case.requests():
        state = guests[0].state
        for bent in bent_at_random(dict(request.input), QUESTIONS, drawn):
            decisions = [guest.ask(request.kind, bent.input) for guest in guests]
            assert len({(each.allowed, *sorted(each.codes)) for each in decisions}) == 1, bent
            for guest in guests:
                guest.restore(state)
        for guest in guests:
            guest.ask(request.kind, request.input)


def test_runtimes_kill_containers_that_have_ended() -> None:
    # So a policy cannot refuse signals to init containers, which end by themselves.
    (case,) = (each for each in CASES if each.name == "contrast/restart")
    life = [each for each in case.requests() if "container_id" in each.input]
    first = [each for each in life if each.input["container_id"].startswith("c1")]
    kinds = [
        each.kind.removesuffix("Request")
        for each in first
        if "signal" in each.input or each.kind.startswith(("Wait", "Remove"))
    ]

    assert kinds == ["WaitProcess", "SignalProcess", "WaitProcess", "RemoveContainer"]


def test_all_folders_of_recordings_are_asked() -> None:
    folders = {case.path.parent.name for case in CASES}

    assert folders == {"stock", "nydus", "contrast", "contrast@2.4.2", "contrast330@1.7.29"}
