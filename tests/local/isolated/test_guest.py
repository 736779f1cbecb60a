"""What a guest does with its policy's answers: go on, stop with the policy's own line, or keep what is hidden in mind."""

import pytest

from contrast_tasks.agent_messages import Request
from contrast_tasks.local.isolated.guest import Denied, Guest

POLICY = b"""package agent_policy
import rego.v1
default CreateContainerRequest := false
CreateContainerRequest if {
    input.container_id == "good"
} else := false if {
    print("DENY CreateContainerRequest container=web codes=E_ENV(A B)")
}
default StartContainerRequest := false
default ReadStreamRequest := false
ReadStreamRequest := false if {
    print("DENY ReadStreamRequest container=web codes=E_LOGS")
}
"""


def request(kind: str, purpose: str, identifier: str = "") -> Request:
    return Request(kind, {"container_id": identifier}, purpose)


def test_what_the_policy_allows_passes_and_what_agents_do_not_ask_about_too() -> None:
    guest = Guest(POLICY)

    guest.ask(
        [
            request("CheckRequest", "see whether the agent answers"),
            request("CreateContainerRequest", "create web", "good"),
        ]
    )

    assert guest.hidden == set()


def test_the_first_denial_stops_with_the_line_of_the_policy() -> None:
    asked: list[str] = []

    def requests() -> object:
        for identifier in ("good", "bad", "good"):
            asked.append(identifier)
            yield request("CreateContainerRequest", "create web", identifier)

    with pytest.raises(Denied) as raised:
        Guest(POLICY).ask(requests())  # type: ignore[arg-type]

    line = "DENY CreateContainerRequest container=web codes=E_ENV(A B)"
    assert (raised.value.line, raised.value.container) == (line, "web")
    assert str(raised.value) == f"its policy denies to create web: {line}"
    assert asked == ["good", "bad"]


def test_a_denial_without_a_line_names_the_request() -> None:
    with pytest.raises(Denied) as raised:
        Guest(POLICY).ask([request("StartContainerRequest", "start web", "good")])

    assert raised.value.line == "DENY StartContainerRequest without a line of the policy"


def test_output_that_nobody_may_read_is_no_denial() -> None:
    guest = Guest(POLICY)

    guest.ask([request("ReadStreamRequest", "read output of web", "good")])

    assert guest.hidden == {"web"}


def test_a_pod_without_a_policy_is_asked_nothing() -> None:
    def requests() -> object:
        raise AssertionError
        yield

    Guest(b"").ask(requests())  # type: ignore[arg-type]
