"""The bytes of a policy: deterministic, within the engines' limits, readable back; its rules by static checks."""

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from contrast_tasks.errors import ContrastError
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.requests import REQUESTS
from contrast_tasks.policy.simulate import simulate
from contrast_tasks.policy.text import parse_policy, policy_hash, render_policy
from contrast_tasks.resources import read_text
from tests.fakes.policy import (
    PEER_PROFILE,
    coordinator,
    derived,
    emojivoto,
    one_container,
    policy_of,
    rich,
    web,
)

RULES = read_text("templates/policy/rules.rego")
GOLDEN = Path(__file__).parents[1] / "golden" / "policy"
SCHEMA = json.loads(read_text("schemas/policy-data.schema.json"))
# docs/internals/policy.md 1.1: what every engine of interest has, with or without build features beyond `regex`.
_BUILTINS = (
    "array.concat base64.encode base64url.encode bits.and concat contains count endswith indexof is_array is_boolean "
    "is_null is_number is_object is_string lower object.get object.keys object.union print regex.match replace sort "
    "split sprintf startswith substring trim_prefix trim_suffix upper"
)
ALLOWED_BUILTINS = frozenset(_BUILTINS.split())


def _code() -> str:
    """Return the rules without comments and text literals."""
    text = re.sub(r"^#.*$", "", RULES, flags=re.MULTILINE)
    return re.sub(r'"(?:\\.|[^"\\])*"|`[^`]*`', '""', text)


def test_every_request_has_exactly_one_default_or_a_value() -> None:
    named = re.findall(r"^default (\w+Request|MemAgent\w+) :=", RULES, flags=re.MULTILINE)
    switched = re.findall(r"^(\w+Request) := policy_data", RULES, flags=re.MULTILINE)

    assert sorted(named + switched) == sorted(REQUESTS)


def test_every_rule_that_is_a_request_is_a_known_one() -> None:
    named = set(re.findall(r"^(?:default )?([A-Z]\w+)", RULES, flags=re.MULTILINE))

    assert named - set(REQUESTS) == {"AllowRequestsFailingPolicy"}


def test_failing_requests_are_never_tolerated() -> None:
    assert re.findall(r"AllowRequestsFailingPolicy.*", RULES) == [
        "AllowRequestsFailingPolicy := false"
    ]


def test_only_builtins_that_every_agent_has_are_called() -> None:
    code = _code()
    own = set(re.findall(r"^([a-z_]+)\(", code, flags=re.MULTILINE))
    called = set(re.findall(r"([a-z_][a-z0-9_.]*)\(", code))

    assert called - own - {"set"} <= ALLOWED_BUILTINS


def test_base64_is_called_for_block_volumes_only() -> None:
    # Agents before Kata 3.28 lack it; the engine looks a builtin up when it is called.
    assert RULES.count("base64") == 1
    assert next(line for line in RULES.splitlines() if "base64" in line).startswith(
        'storage_places("block"'
    )


def test_the_rules_stay_within_their_size() -> None:
    assert RULES.count("\n") < 500
    assert max(map(len, RULES.splitlines())) < 200


def test_the_module_begins_for_engines_of_both_generations() -> None:
    assert "\npackage agent_policy\n\nimport rego.v1\n" in RULES


@pytest.mark.parametrize("name", ["web", "rich"])
def test_lines_fit_into_the_strictest_engine(name: str) -> None:
    assert max(map(len, policy_of(name).splitlines())) < 1000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "value",
    [
        "x" * 5000,
        "é" * 3000,
        '"' * 2000,
        "\\" * 2000,
        "\n" * 2000,
        "\U0001f600" * 900,
        "a,b]) " * 400,
    ],
    ids=["ascii", "latin", "quotes", "backslashes", "newlines", "emoji", "delimiters"],
)
def test_long_values_are_broken_and_still_enforced(value: str, engine: str) -> None:
    data = one_container(f"env: [{{name: LONG, value: {json.dumps(value)}}}]")

    policy = render_policy(data)

    assert max(map(len, policy.decode().splitlines())) < 1000
    assert simulate(policy, data, engine=engine) == ()
    assert parse_policy(policy)["containers"][1]["env"]["fixed"]["LONG"] == value


@pytest.mark.parametrize("pod", [web, rich, coordinator, lambda: emojivoto("vote-bot")])
def test_a_policy_is_a_small_part_of_the_annotation_budget(pod: object) -> None:
    policy = render_policy(pod())  # type: ignore[operator]  # a table of functions

    assert len(policy) * 4 / 3 < 256 * 1024 / 4


def test_the_policy_does_not_depend_on_the_order_of_keys() -> None:
    one = derived(
        "containers: [{name: a, image: 'i@sha256:" + "5a" * 32 + "', tty: true}]\nhostNetwork: true"
    )
    two = derived(
        "hostNetwork: true\ncontainers: [{tty: true, image: 'i@sha256:" + "5a" * 32 + "', name: a}]"
    )

    assert render_policy(one) == render_policy(two)


def test_the_policy_is_the_same_in_another_process_and_directory(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    program = "from tests.fakes.policy import policy_of; import hashlib; print(hashlib.sha256(policy_of('rich')).hexdigest())"
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONHASHSEED": "7"}

    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=True,
        text=True,
    )

    assert result.stdout.strip() == policy_hash(policy_of("rich"))


def test_the_hash_is_sha256_over_the_bytes() -> None:
    assert policy_hash(b"package x\n") == hashlib.sha256(b"package x\n").hexdigest()


def test_the_header_names_tool_profile_and_presence() -> None:
    first = policy_of("web").split(b"\n")[0].decode()

    assert re.fullmatch(r"# contrast-tasks \d+\.\d+\.\d+, profile kata-qemu, presence exact", first)


def test_the_rules_stand_in_the_policy_as_they_are_shipped() -> None:
    assert RULES.encode() in policy_of("web")


@pytest.mark.parametrize("pod", [web, rich, coordinator])
def test_the_data_block_is_read_back(pod: object) -> None:
    data = pod()  # type: ignore[operator]  # a table of functions

    assert parse_policy(render_policy(data)) == json.loads(json.dumps(data.to_json()))


@pytest.mark.parametrize("pod", [web, rich, coordinator, lambda: rich(PEER_PROFILE)])
def test_the_data_block_fits_its_schema(pod: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(pod().to_json())  # type: ignore[operator]  # a table


@pytest.mark.parametrize(
    "change",
    [{"presence": "none"}, {"version": 2}, {"containers": []}, {"other": 1}, {"pod": {}}],
    ids=str,
)
def test_a_wrong_data_block_does_not_fit_the_schema(change: dict[str, object]) -> None:
    block = {**web().to_json(), **change}

    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(block)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (b"package agent_policy\n", "no data block"),
        (b"\npolicy_data := {,}\n", "not JSON"),
        (b"\npolicy_data := []\n", "does not name its containers"),
        (b'\npolicy_data := {"containers": [1]}\n', "does not name its containers"),
        (b"\xff\xfe", "no data block"),
    ],
)
def test_a_foreign_policy_is_not_read(policy: bytes, message: str) -> None:
    with pytest.raises(ContrastError, match=message):
        parse_policy(policy)


def test_the_presence_is_visible_to_who_makes_the_manifest() -> None:
    assert web().presence == "exact"
    assert rich(PEER_PROFILE).presence == "subset"
    assert parse_policy(render_policy(rich(PEER_PROFILE)))["presence"] == "subset"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_that_is_switched_on_is_allowed(engine: str) -> None:
    data = web()
    opened = replace(data, requests={**data.requests, "WriteStreamRequest": True})

    guest = PolicyEngine(render_policy(opened), engine=engine)

    assert guest.ask("WriteStreamRequest", {}).allowed
    assert not guest.ask("CloseStdinRequest", {}).allowed


def test_the_web_pods_data_is_the_golden_one(request: pytest.FixtureRequest) -> None:
    golden = GOLDEN / "web.json"
    found = json.dumps(parse_policy(policy_of("web")), indent=2, sort_keys=True) + "\n"
    if request.config.getoption("--update-golden"):
        golden.write_text(found)

    assert found == golden.read_text()
