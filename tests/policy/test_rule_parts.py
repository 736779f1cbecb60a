"""A policy lacks the parts of the rules that its pod does not need, and decides as with them."""

import json
import re
from collections.abc import Callable

import pytest

from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.expectations import PolicyData
from contrast_tasks.policy.profiles import KATA_QEMU_BLOCK, KATA_QEMU_BYTES
from contrast_tasks.policy.rule_parts import PARTS, needed_parts, parts_in, with_parts
from contrast_tasks.policy.rules import compact_rules
from contrast_tasks.policy.text import parse_policy, render_policy
from contrast_tasks.resources import read_text
from tests.fakes.aks import policy_data
from tests.fakes.policy import at, one_container, places, rich, set_state, walk, web

RULES = read_text("templates/policy/rules.rego")


def _with_disk() -> PolicyData:
    return one_container(
        "volumeMounts: [{name: d, mountPath: /d}]",
        pod="volumes: [{name: d, emptyDir: {}}]",
        profile=KATA_QEMU_BLOCK,
    )


def _with_gpu() -> PolicyData:
    return one_container('resources: {limits: {nvidia.com/pgpu: "1"}}')


PODS: dict[str, tuple[Callable[[], PolicyData], set[str]]] = {
    "one": (lambda: one_container(""), {"pulls"}),
    "web": (web, {"pulls", "exec"}),
    "rich": (rich, {"pulls", "exec", "devices"}),
    "gpu": (_with_gpu, {"pulls", "devices"}),
    "disk": (_with_disk, {"pulls", "disks"}),
    "aks": (policy_data, {"layers", "exec", "raw"}),
    "bytes": (lambda: one_container("", profile=KATA_QEMU_BYTES), {"pulls", "raw"}),
}


def _heads(rego: str) -> set[str]:
    return set(re.findall(r"^(?:default )?([A-Za-z_]\w*)", rego, flags=re.MULTILINE))


def _names(rego: str) -> set[str]:
    """Return the names that rules refer to, without comments, texts and members."""
    code = re.sub(r'^#.*$|"(?:\\.|[^"\\])*"|`[^`]*`', "", rego, flags=re.MULTILINE)
    return set(re.findall(r"(?<![\w.])[a-z_]\w*", code))


def test_each_part_of_the_file_has_a_condition() -> None:
    marks = re.findall(r"^# (?:part: .*|end of part)$", RULES, flags=re.MULTILINE)

    assert marks[1::2] == ["# end of part"] * len(PARTS)
    assert [each.removeprefix("# part: ") for each in marks[::2]] == list(parts_in(RULES))
    assert sorted(parts_in(RULES)) == sorted(PARTS)


def test_only_whole_parts_are_left_out() -> None:
    rego = "a\n# part: one\nb\n\nc\n# end of part\nd\n# part: two\ne\n# end of part\nf\n"

    assert with_parts(rego, {"two"}) == "a\nd\ne\nf\n"
    assert with_parts(rego, ()) == "a\nd\nf\n"
    assert parts_in(rego) == ("one", "two")


@pytest.mark.parametrize("part", PARTS)
def test_rules_outside_of_a_part_name_nothing_that_it_defines(part: str) -> None:
    others = with_parts(RULES, set(PARTS) - {part})

    assert (_heads(with_parts(RULES, PARTS)) - _heads(others)) & _names(others) == set()


@pytest.mark.first(2)
@pytest.mark.parametrize("parts", [(), *((part,) for part in PARTS), tuple(PARTS)], ids=str)
def test_every_rule_is_a_request_or_is_used(parts: tuple[str, ...]) -> None:
    rego = with_parts(RULES, parts)

    # Each rule stands once where it is defined; its other places are uses.
    code = re.sub(r'^#.*$|"(?:\\.|[^"\\])*"|`[^`]*`', "", rego, flags=re.MULTILINE)
    defined = re.findall(r"^([a-z_]\w*)(?= (?::=|if|contains)|\()", code, flags=re.MULTILINE)
    unused = {
        name
        for name in set(defined)
        if len(re.findall(rf"(?<![\w.]){name}\b", code)) == defined.count(name)
    }
    assert unused == set()


@pytest.mark.parametrize("name", PODS)
def test_a_policy_has_the_parts_that_its_data_needs(name: str) -> None:
    data, needed = PODS[name]

    assert needed_parts(data().to_json()) == needed


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", PODS)
def test_engines_take_the_rules_with_the_parts_of_each_pod(name: str, engine: str) -> None:
    guest = PolicyEngine(render_policy(PODS[name][0]()), engine=engine)

    assert guest.ask("GuestDetailsRequest", {}).allowed
    assert guest.ask("CreateContainerRequest", {}).codes
    assert guest.ask("ExecProcessRequest", {}).codes


@pytest.mark.sweep
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["one", "web", "rich"])
def test_every_request_and_every_bent_one_is_decided_as_by_all_rules(
    name: str, engine: str
) -> None:
    data = PODS[name][0]()
    policy = render_policy(data)
    own = compact_rules(needed_parts(parse_policy(policy)))
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

    assert (decision.allowed, "E_REFUSED" in decision.codes) == (False, True)
