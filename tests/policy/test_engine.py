"""Decisions, state changes and failures of the engine wrapper; protobuf defaults."""

from typing import Any

import pytest

from contrast_tasks.agent_messages import fill_defaults
from contrast_tasks.policy.engine import ENGINES, PolicyEngine, PolicyEngineError, apply_patch
from tests.fakes.policy import REQUESTS

POLICY = b"""package agent_policy

import rego.v1

Yes := true

No := false if print("policy says no")

Text := "yes"

Added := {"allowed": true, "ops": [{"op": "add", "path": "/pstate/a", "value": input.value}]}

Refused := {"allowed": false, "ops": [{"op": "add", "path": "/pstate/b", "value": 1}]}

Seen := true if data.pstate.a == input.value

Broken := true if startswith(input.value, "x")

Elsewhere := {"allowed": true, "ops": [{"op": "add", "path": "/other/a", "value": 1}]}
"""


@pytest.fixture(params=ENGINES)
def guest(request: pytest.FixtureRequest) -> PolicyEngine:
    return PolicyEngine(POLICY, engine=request.param)


def test_true_and_false_are_decisions(guest: PolicyEngine) -> None:
    assert guest.ask("Yes", {}).allowed
    assert not guest.ask("No", {}).allowed


def test_prints_are_kept_for_denials_only(guest: PolicyEngine) -> None:
    assert "policy says no" in guest.ask("No", {}).prints[0]
    assert guest.ask("Yes", {}).prints == ()


def test_an_undefined_rule_is_a_denial(guest: PolicyEngine) -> None:
    assert not guest.ask("Unknown", {}).allowed


def test_changes_of_an_allowed_request_are_seen_by_the_next(guest: PolicyEngine) -> None:
    assert not guest.ask("Seen", {"value": 5}).allowed
    assert guest.ask("Added", {"value": 5}).allowed
    assert guest.ask("Seen", {"value": 5}).allowed
    assert not guest.ask("Seen", {"value": 6}).allowed


def test_changes_of_a_denied_request_are_not_made(guest: PolicyEngine) -> None:
    assert not guest.ask("Refused", {}).allowed
    assert guest.state == {}


@pytest.mark.parametrize("kind", ["Text", "Broken", "Elsewhere"])
def test_what_the_agent_would_not_understand_is_an_error(guest: PolicyEngine, kind: str) -> None:
    with pytest.raises(PolicyEngineError):
        guest.ask(kind, {"value": 5})


def test_an_error_of_the_engine_is_shown_without_its_stack(guest: PolicyEngine) -> None:
    with pytest.raises(PolicyEngineError, match="startswith") as caught:
        guest.ask("Broken", {"value": 5})

    assert "backtrace" not in str(caught.value)


@pytest.mark.parametrize("policy", [b"no policy", b"package agent_policy\nx := {", b"\xff\xff"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_broken_policy_is_not_loaded(policy: bytes, engine: str) -> None:
    with pytest.raises(PolicyEngineError, match="cannot be loaded"):
        PolicyEngine(policy, engine=engine)


def test_a_missing_engine_is_named_with_what_to_install() -> None:
    with pytest.raises(PolicyEngineError, match="no_such_engine is not installed") as caught:
        PolicyEngine(POLICY, engine="no_such_engine")

    assert "the extra 'simulate'" in caught.value.hint


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/pstate/b", "value": 2}], {"a": 1, "b": 2}),
        ([{"op": "add", "path": "/pstate/a", "value": 2}], {"a": 2}),
        ([{"op": "replace", "path": "/pstate/a", "value": 2}], {"a": 2}),
        ([{"op": "remove", "path": "/pstate/a"}], {}),
        ([{"op": "add", "path": "/pstate/x~1y~0z", "value": 2}], {"a": 1, "x/y~z": 2}),
    ],
)
def test_patches_are_applied(operations: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    before = {"a": 1}

    assert apply_patch(before, operations) == expected
    assert before == {"a": 1}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/pstate/missing"},
        {"op": "replace", "path": "/pstate/missing", "value": 1},
        {"op": "test", "path": "/pstate/a", "value": 1},
        {"op": "add", "path": "/pstate/x/y", "value": 1},
        {"op": "add", "path": "/", "value": 1},
        {"op": "add", "value": 1},
    ],
)
def test_other_patches_are_errors(operation: dict[str, Any]) -> None:
    with pytest.raises(PolicyEngineError):
        apply_patch({"a": 1}, [operation])


def test_sparse_requests_get_protobuf_defaults() -> None:
    filled = fill_defaults(
        "CreateContainerRequest", {"OCI": {"Linux": {}, "Mounts": [{}]}, "storages": [{}]}
    )

    assert filled["container_id"] == ""
    assert filled["OCI"]["Hooks"] is None
    assert filled["OCI"]["Linux"]["Sysctl"] == {}
    assert filled["OCI"]["Mounts"] == [
        {"destination": "", "source": "", "type_": "", "options": []}
    ]
    assert filled["storages"][0]["fs_group"] is None


def test_given_members_keep_their_values() -> None:
    filled = fill_defaults("ExecProcessRequest", {"process": None, "other": {"a": 1}})

    assert filled["process"] is None
    assert filled["other"] == {"a": 1}


def test_there_are_as_many_requests_as_the_agent_asks_about() -> None:
    assert len(REQUESTS) == len(set(REQUESTS)) == 43
