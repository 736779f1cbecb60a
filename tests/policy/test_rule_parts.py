"""What a policy leaves out of the rules changes no decision."""

import json

import pytest

from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.rule_parts import Unused, unused_by, without
from contrast_tasks.policy.rules import compact_rules
from contrast_tasks.policy.text import parse_policy, render_policy
from tests.fakes.policy import at, one_container, places, rich, set_state, walk, web

PODS = {"one": lambda: one_container(""), "web": web, "rich": rich}
NO_GPU = Unused(never=frozenset({"gpus > 0"}))


@pytest.mark.parametrize(
    ("clauses", "unused", "kept"),
    [
        pytest.param(
            ["A if {\nb\nc\n}\n", "A if d\n", "c if x.y\n", "d if true\n", "b if true\n"],
            Unused(undefined=frozenset({"x.y"})),
            ["A if d\n", "d if true\n"],
            id="undefined, and what nothing refers to any more",
        ),
        pytest.param(
            ["A if {\nnot c\nd\n}\n", "c := 1 if x.y\n", "d if true\n"],
            Unused(undefined=frozenset({"x.y"})),
            ["A if {\nd\n}\n", "d if true\n"],
            id="the absence of what is undefined",
        ),
        pytest.param(
            ["A if {\ngpus > 0\n}\n", "A if {\nevery g in h {\ngpus > 0\n}\n}\n", "h := [1]\n"],
            NO_GPU,
            ["A if {\nevery g in h {\ngpus > 0\n}\n}\n", "h := [1]\n"],
            id="inside of every, the statement may not be asked",
        ),
        pytest.param(
            ["A := b\n", "b := {c |\nsome c in d\ngpus > 0\n}\n", "d := [1]\n"],
            NO_GPU,
            ["A := b\n", "b := set()\n"],
            id="a set of nothing",
        ),
        pytest.param(
            ["A := x if { c } else := y\n", "c if x.y\n"],
            Unused(undefined=frozenset({"x.y"})),
            ["A := y\n"],
            id="a choice",
        ),
        pytest.param(
            ["A if {\nnot c\n} else := false if d\n", "c if x.y\n", "d if true\n"],
            Unused(undefined=frozenset({"x.y"})),
            ["A if {\nnot c\n} else := false if d\n", "d if true\n"],
            id="a clause with an alternative stays as it is",
        ),
        pytest.param(
            ["default B := false\n", "B if c\n", "c if true\n", "refuse(a) := false\n"],
            Unused(refused=frozenset({"B"})),
            ["refuse(a) := false\n", 'B := refuse("B")\n'],
            id="a request that is never allowed",
        ),
        pytest.param(
            ["A if b\n", 'b if "x.y"\n'], Unused(), ["A if b\n", 'b if "x.y"\n'], id="nothing"
        ),
    ],
)
def test_clauses_that_never_hold_are_left_out(
    clauses: list[str], unused: Unused, kept: list[str]
) -> None:
    assert without(clauses, unused) == kept


@pytest.mark.sweep
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PODS)
def test_every_request_and_every_bent_one_is_decided_as_by_all_rules(
    name: str, engine: str
) -> None:
    data: PolicyData = PODS[name]()
    policy = render_policy(data)
    own = compact_rules(unused_by(parse_policy(policy)))
    whole = policy.replace(own.encode(), compact_rules().encode())
    assert len(whole) > len(policy)
    guests = [PolicyEngine(each, engine=engine) for each in (policy, whole)]

    for request, state in walk(data, policy):
        changed = [request.input]
        if request.kind in {"CreateContainerRequest", "ExecProcessRequest"}:
            for path, _ in [*places(request.input)][:: 1 if name == "one" else 9]:
                bent = json.loads(json.dumps(request.input))
                at(bent, path)[path[-1]] = None
                changed.append(bent)
        for asked in changed:
            answers = []
            for guest in guests:
                set_state(guest, state)
                decision = guest.ask(request.kind, asked)
                answers.append((decision.allowed, dict(decision.codes)))
            assert answers[0] == answers[1]


def test_a_pod_without_probes_refuses_every_command() -> None:
    guest = PolicyEngine(render_policy(one_container("")))

    decision = guest.ask("ExecProcessRequest", {"container_id": "a", "process": {"Args": ["sh"]}})

    assert (decision.allowed, set(decision.codes)) == (False, {"E_REFUSED"})
