"""A denied request is explained with both sides, and a cut log is read as far as it goes."""

import json
import re

import pytest

from contrast_tasks.agent_messages import Request
from contrast_tasks.policy.advice import known_codes
from contrast_tasks.policy.agent_log import read_log
from contrast_tasks.policy.engine import parse_denial
from contrast_tasks.policy.explain import Explanation, explain, explain_text
from contrast_tasks.resources import read_text
from tests.fakes.policy import bent, policy_of, requests_before, rich, web
from tests.fakes.sweeps import rest_swept


def _explained(
    path: str, value: object, *, purpose: str = "create web-svc", pod: str = "web"
) -> Explanation:
    before, request = requests_before({"web": web, "rich": rich}[pod](), purpose)
    changed = Request(kind=request.kind, input=bent(request.input, path, value))
    (found,) = explain(policy_of(pod), [*before, changed])
    return found


def test_both_sides_of_a_wrong_argument_are_shown() -> None:
    found = _explained("OCI/Process/Args", ["sh"])

    (reason,) = found.reasons
    assert found.container == "web-svc"
    assert (reason.code, reason.expected, reason.actual) == ("E_ARGS", ["/bin/app"], ["sh"])
    assert "command or args" in reason.change


def test_shared_expectations_are_filled_in() -> None:
    found = _explained("OCI/Process/Capabilities/Ambient", ["CAP_KILL"])

    assert "CHOWN" in found.reasons[0].expected


def test_a_wrong_variable_is_named_with_its_values() -> None:
    _, request = requests_before(web(), "create web-svc")
    entries = [
        "WEB_PORT=9" if e.startswith("WEB_PORT=") else e
        for e in request.input["OCI"]["Process"]["Env"]
    ]

    (reason,) = _explained("OCI/Process/Env", entries).reasons

    assert (reason.names, reason.expected, reason.actual) == (
        ("WEB_PORT",),
        {"WEB_PORT": "8080"},
        ["WEB_PORT=9"],
    )


def test_an_additional_mount_is_shown() -> None:
    (reason,) = _explained(
        "OCI/Mounts/+", {"destination": "/x", "source": "/", "type_": "bind", "options": []}
    ).reasons

    assert reason.code == "E_MOUNT_EXTRA"
    assert (reason.expected, reason.actual[0]["destination"]) == ([], "/x")


def test_the_pods_name_and_namespace_are_compared() -> None:
    name = _explained("OCI/Annotations/io.kubernetes.cri.sandbox-name", "x", purpose="create pause")
    namespace = _explained(
        "OCI/Annotations/io.kubernetes.cri.sandbox-namespace", "X", purpose="create pause"
    )

    assert [r.actual for r in name.reasons if r.code == "E_POD_NAME"] == ["x"]
    assert [r.actual for r in namespace.reasons if r.code == "E_POD_NAMESPACE"] == ["X"]


def test_a_probe_is_compared_with_the_commands_of_its_container() -> None:
    found = _explained("process/Args", ["sh"], purpose="run check in app", pod="rich")

    assert found.container == "app"
    assert found.reasons[0].expected == [["check", ""], ["stop"]]


def test_a_wrong_order_names_what_comes_before() -> None:
    before, request = requests_before(web(), "create web-svc")

    found = explain(policy_of("web"), [before[0], request])

    assert [r.expected for r in found[0].reasons if r.code == "E_ORDER"] == [
        ["contrast-service-mesh"]
    ]


def test_a_request_that_is_never_allowed_says_so() -> None:
    (found,) = explain(policy_of("web"), [Request(kind="SetPolicyRequest", input={"policy": ""})])

    assert [each.code for each in found.reasons] == ["E_REFUSED"]
    assert "never allowed" in found.reasons[0].advice


def test_a_log_is_read_and_broken_lines_are_skipped() -> None:
    good = json.dumps({"kind": "GuestDetailsRequest", "request": {}})

    requests = list(
        read_log(f'{good}\n{{"kind": "Cut\n[1]\n{{"kind": 1, "request": null}}\n{good[:-3]}')
    )

    assert [r.kind for r in requests] == ["GuestDetailsRequest"]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"kind": "X", "request": {"a": "\\ud800"}}', '{"kind": "\\udfff"}']
)
def test_lines_that_nobody_can_read_are_skipped(line: str) -> None:
    good = json.dumps({"kind": "GuestDetailsRequest", "request": {}})

    assert [r.kind for r in read_log(f"{line}\n{good}")] == ["GuestDetailsRequest"]


@pytest.mark.parametrize(
    ("path", "value"),
    rest_swept(
        [
            *(("OCI/Process", value) for value in ("x", 5, ["x"])),
            *(("OCI/Process/Env", value) for value in (5, {"a": "b"})),
            *(("OCI/Mounts", value) for value in ("x", 5, [5, None], {"a": 1})),
        ],
        kept=lambda _path, value: value == 5,
    ),
)
def test_a_request_of_another_form_is_explained_too(path: str, value: object) -> None:
    assert _explained(path, value).request.kind == "CreateContainerRequest"


def test_a_denial_is_found_in_an_event_of_the_cluster() -> None:
    event = (
        "Error: failed to create containerd task: rpc error: status: PERMISSION_DENIED, message: "
        '"CreateContainerRequest is blocked by policy: policy.rego:57: DENY CreateContainerRequest '
        'container=web-svc codes=E_ARGS,E_ENV(LD_PRELOAD X),E_MOUNT_EXTRA(/etc)": unknown'
    )

    assert parse_denial(event) == (
        "web-svc",
        {"E_ARGS": (), "E_ENV": ("LD_PRELOAD", "X"), "E_MOUNT_EXTRA": ("/etc",)},
    )
    assert parse_denial("no denial here") is None


def test_an_event_is_explained_by_what_was_expected() -> None:
    event = "blocked: DENY CreateContainerRequest container=web-svc codes=E_ARGS,E_ENV(WEB_PORT X)"

    (found,) = explain_text(policy_of("web"), event)

    assert (found.request.kind, found.container) == ("CreateContainerRequest", "web-svc")
    assert [(r.code, r.names, r.expected, r.actual) for r in found.reasons] == [
        ("E_ARGS", (), ["/bin/app"], None),
        ("E_ENV", ("WEB_PORT", "X"), {"WEB_PORT": "8080", "X": None}, None),
    ]


def test_each_denial_of_a_text_is_explained_once() -> None:
    one = "DENY CreateContainerRequest container=web-svc codes=E_CWD"
    other = "DENY ExecProcessRequest container=web-svc codes=E_ARGS"

    found = explain_text(policy_of("web"), f"Warning: {one}\nWarning: {one}\nWarning: {other}\n")

    assert [each.request.kind for each in found] == ["CreateContainerRequest", "ExecProcessRequest"]


def test_text_without_a_denial_is_no_event() -> None:
    assert explain_text(policy_of("web"), "DENY everything") == ()


# The form of the log of agents until 2025: docs/internals/aks.md 1.
def test_the_older_log_of_agents_is_read_as_far_as_it_goes() -> None:
    text = (
        '["ep":"GuestDetailsRequest",{"mem_block_size":true}],\n\n'
        '["ep":"CreateContainerRequest",{"container_id":"a","OCI":{"Process":{"Args":["]"]}}}],\n\n'
        '["ep":"StartContainerRequest",{"container_id":'
    )

    assert [(each.kind, each.input) for each in read_log(text)] == [
        ("GuestDetailsRequest", {"mem_block_size": True}),
        ("CreateContainerRequest", {"container_id": "a", "OCI": {"Process": {"Args": ["]"]}}}),
    ]


def _codes() -> set[str]:
    return set(re.findall(r'"(E_[A-Z_]+)"', read_text("templates/policy/rules.rego")))


def test_every_code_of_the_rules_has_advice_and_says_what_would_allow_the_request() -> None:
    assert _codes() <= known_codes()


@pytest.mark.first(20)
@pytest.mark.parametrize("kind", ["CreateContainerRequest", "ExecProcessRequest"])
@pytest.mark.parametrize("code", sorted(_codes()))
def test_what_a_code_expects_of_a_container_is_shown(kind: str, code: str) -> None:
    names = {"E_ENV": "(WEB_PORT)", "E_ANNOTATION": "(a)"}.get(code, "")
    names = "(/contrast)" if code.startswith("E_MOUNT") and code != "E_MOUNT_DUP" else names

    (found,) = explain_text(policy_of("web"), f"DENY {kind} container=web-svc codes={code}{names}")

    (reason,) = found.reasons
    assert reason.change
    # A policy for any namespace and without a host name of its own has nothing to show for these.
    assert reason.expected is not None or code in {"E_POD_NAMESPACE", "E_HOSTNAME"}


@pytest.mark.parametrize(
    ("path", "value", "code"),
    rest_swept(
        [
            ("shared_mounts", [{"name": "x"}], "E_SHARED_MOUNTS"),
            ("OCI/Hooks", {"Prestart": []}, "E_HOOKS"),
            ("OCI/Version", "2.0.0", "E_VERSION"),
            ("OCI/Linux/CgroupsPath", "/a/../b", "E_CGROUP"),
            ("OCI/Linux/Namespaces", [], "E_NAMESPACES"),
            ("OCI/Annotations/a", "b", "E_ANNOTATION"),
            ("OCI/Novelty", 1, "E_FIELD"),
            ("storages", [], "E_IMG_COUNT"),
        ],
        kept=lambda _path, _value, code: code in {"E_HOOKS", "E_FIELD", "E_IMG_COUNT"},
    ),
)
def test_what_was_asked_for_is_shown_beside_it(path: str, value: object, code: str) -> None:
    reasons = {each.code: each for each in _explained(path, value).reasons}

    assert reasons[code].actual is not None
    assert reasons[code].expected is not None


def test_an_unknown_member_is_named_with_its_path() -> None:
    reasons = {each.code: each for each in _explained("OCI/Process/Novelty", 1).reasons}

    assert reasons["E_FIELD"].actual == ["OCI/Process/Novelty"]
