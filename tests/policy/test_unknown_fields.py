"""Members that the rules do not know, as a later agent may have them: allowed while unset, denied once used."""

from typing import Any

import pytest

from contrast_tasks.policy.engine import ENGINES
from tests.fakes.policy import bent, guest_in, policy_of, walked

PLACES = [
    ("create web-svc", ""),
    ("create web-svc", "OCI/"),
    ("create web-svc", "OCI/Process/"),
    ("create web-svc", "OCI/Process/User/"),
    ("create web-svc", "OCI/Process/Capabilities/"),
    ("create web-svc", "OCI/Root/"),
    ("create web-svc", "OCI/Mounts/3/"),
    ("create web-svc", "OCI/Linux/"),
    ("create web-svc", "OCI/Linux/Resources/"),
    ("create web-svc", "OCI/Linux/Namespaces/1/"),
    ("create web-svc", "storages/0/"),
    ("create web-svc", "storages/1/"),
    ("create app", "devices/0/"),
    ("create app", "OCI/Linux/Devices/0/"),
    ("create pause", "OCI/Process/"),
    ("run check in app", ""),
    ("run check in app", "process/"),
    ("run check in app", "process/User/"),
    ("create the sandbox", ""),
    ("copy /etc/hosts of web-svc", ""),
]
STEPS = {step[0].purpose: (name, step) for name in ("rich", "web") for step in walked(name)}


def _codes(engine: str, purpose: str, path: str, value: Any) -> set[str] | None:
    """Return the codes of the denial, None when the request is allowed."""
    name, (request, state) = STEPS[purpose]
    guest = guest_in(state, policy_of(name), engine=engine)
    decision = guest.ask(request.kind, bent(request.input, f"{path}NewMember", value))
    return None if decision.allowed else set(decision.codes)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("purpose", "path"), PLACES)
def test_an_unknown_member_may_not_be_used(engine: str, purpose: str, path: str) -> None:
    assert _codes(engine, purpose, path, ["/bin/sh"]) >= {"E_FIELD"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [True, 1, "x", ["x"], {"x": None}, [None], -1, 0.5], ids=str)
def test_no_value_is_taken_for_unset(engine: str, value: Any) -> None:
    assert _codes(engine, "create web-svc", "OCI/Linux/", value) == {"E_FIELD"}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("value", [None, False, 0, "", [], {}], ids=str)
def test_an_unknown_member_that_is_unset_changes_nothing(engine: str, value: Any) -> None:
    assert _codes(engine, "create web-svc", "OCI/Process/", value) is None
