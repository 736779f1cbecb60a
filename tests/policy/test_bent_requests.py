"""Requests as the model of the runtime makes them, with one or two members changed: denied, unless the host may choose those.

The recorded requests of real shims are bent in the same way, see test_recorded; the list of what a host may choose is the one
for auditors, docs/reference/host-choices.md.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.engine import ENGINES
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.text import render_policy
from dev.judged.chore import verdicts_on_bends
from tests.fakes.policy import emojivoto, life_of, rich, web


class Modelled(NamedTuple):
    """A pod in the life that the model gives it."""

    name: str
    data: PolicyData

    def policy(self) -> bytes:
        return render_policy(self.data)

    def requests(self) -> list[Request]:
        return life_of(self.data)


PODS: dict[str, Callable[[], PolicyData]] = {
    "web": web,
    "rich": rich,
    "vote-bot": lambda: emojivoto("vote-bot"),
    "voting": lambda: emojivoto("voting"),
}
FEW, MANY = 25, 500
# The whole is a sweep, a few of one pod are asked in every run.
ASKED = [
    pytest.param("web", FEW, id="few of web"),
    *(pytest.param(name, MANY, id=f"many of {name}", marks=pytest.mark.sweep) for name in PODS),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("name", "count"), ASKED)
def test_what_is_bent_is_denied_unless_the_host_may_choose_it(
    name: str, count: int, engine: str
) -> None:
    pod = Modelled(f"{name} {count}", PODS[name]())

    verdicts = list(verdicts_on_bends(pod, count, engine=engine))

    assert [str(each) for each in verdicts if each.reason] == []
    assert len(verdicts) >= count - count // 20


def test_two_thousand_are_bent() -> None:
    assert MANY * len(PODS) >= 2000
