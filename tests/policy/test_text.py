"""The bytes of a policy: deterministic, within the engines' limits, readable back; its rules told from others."""

import hashlib
import json
import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import jsonschema
import pytest

from contrast_tasks import __version__
from contrast_tasks.errors import ContrastError
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.rule_parts import needed_parts
from contrast_tasks.policy.rules import compact_rules, rules_sha256
from contrast_tasks.policy.simulate import denials
from contrast_tasks.policy.text import (
    claimed_version,
    has_our_rules,
    parse_policy,
    render_policy,
)
from contrast_tasks.resources import read_text
from tests.fakes.policy import (
    coordinator,
    derived,
    emojivoto,
    life_of,
    one_container,
    policy_of,
    rich,
    web,
)
from tests.fakes.sweeps import rest_swept

GOLDEN = Path(__file__).parents[1] / "golden" / "policy"
SCHEMA = json.loads(read_text("schemas/policy-data.schema.json"))


@pytest.mark.parametrize("name", ["web", "rich"])
def test_g10_lines_fit_into_the_strictest_engine(name: str) -> None:
    assert max(map(len, policy_of(name).splitlines())) < 1000


VALUES = {
    "ascii": "x" * 5000,
    "latin": "é" * 3000,
    "quotes": '"' * 2000,
    "backslashes": "\\" * 2000,
    "newlines": "\n" * 2000,
    "emoji": "\U0001f600" * 900,
    "delimiters": "a,b]) " * 400,
}


@pytest.mark.parametrize(
    ("value", "engine"),
    rest_swept(
        product(VALUES, ENGINES), kept=lambda value, _engine: value in {"ascii", "delimiters"}
    ),
)
def test_long_values_are_broken_and_still_enforced(value: str, engine: str) -> None:
    text = VALUES[value]
    data = one_container(f"env: [{{name: LONG, value: {json.dumps(text, ensure_ascii=False)}}}]")

    policy = render_policy(data)

    assert max(map(len, policy.decode().splitlines())) < 1000
    assert denials(policy, life_of(data), engine=engine) == ()
    assert parse_policy(policy)["containers"][1]["env"]["fixed"]["LONG"] == text


def quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


_IP = "valueFrom: {fieldRef: {fieldPath: status.podIP}}"
_NOISE = 'é"\\\\`,] \U0001f600' * 300


@pytest.mark.first(2)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "fields",
    [
        f"env: [{{name: IP, {_IP}}}, {{name: A, value: {quoted(_NOISE + '$(IP)')}}}]",
        f"env: [{{name: IP, {_IP}}}], args: [{quoted(_NOISE + '$(IP)' + _NOISE)}]",
        f"command: [{quoted(_NOISE)}, {quoted(_NOISE)}]",
        f"workingDir: {quoted('/' + _NOISE)}",
        f"livenessProbe: {{exec: {{command: [a, {quoted(_NOISE)}]}}}}",
        f"volumeMounts: [{{name: v, mountPath: {quoted('/' + 'é/' * 1200 + 'x')}}}]",
        f"args: {quoted(['x' * 20] * 300)}",
    ],
    ids=["pattern", "args-pattern", "args", "folder", "probe", "mount", "list"],
)
def test_whatever_is_long_is_broken_and_still_allowed(fields: str, engine: str) -> None:
    data = one_container(fields, pod="volumes: [{name: v, emptyDir: {medium: Memory}}]")

    policy = render_policy(data)

    assert max(map(len, policy.decode().splitlines())) < 1000
    assert denials(policy, life_of(data), engine=engine) == ()


@pytest.mark.parametrize(
    ("name", "value", "engine"),
    rest_swept(
        product(
            ["K" * 2000, "\u00c4" * 600, "\U0001f600" * 200],
            ["", "x" * 590, "\U0001f600" * 900],
            ENGINES,
        ),
        kept=lambda name, value, _engine: (name[0], value[:1]) in {("K", ""), ("\u00c4", "x")},
    ),
    ids=lambda each: each if each in ENGINES else f"{each[:1]}-{len(each)}",
)
def test_long_names_are_broken_and_still_enforced(name: str, value: str, engine: str) -> None:
    data = one_container(
        f"env: [{{name: {json.dumps(name, ensure_ascii=False)}, value: {json.dumps(value, ensure_ascii=False)}}}]"
    )

    policy = render_policy(data)

    assert max(map(len, policy.decode().splitlines())) < 1000
    assert denials(policy, life_of(data), engine=engine) == ()
    assert parse_policy(policy)["containers"][1]["env"]["fixed"] == {name: value}


@pytest.mark.parametrize("pod", [web, rich, coordinator, lambda: emojivoto("vote-bot")])
def test_g12_a_policy_is_a_small_part_of_the_annotation_budget(pod: object) -> None:
    policy = render_policy(pod())  # type: ignore[operator]  # a table of functions

    assert len(policy) * 4 / 3 < 256 * 1024 / 4


def test_g09_the_policy_does_not_depend_on_the_order_of_keys() -> None:
    one = derived(
        "containers: [{name: a, image: 'i@sha256:" + "5a" * 32 + "', tty: true}]\nhostname: h"
    )
    two = derived(
        "hostname: h\ncontainers: [{tty: true, image: 'i@sha256:" + "5a" * 32 + "', name: a}]"
    )

    assert render_policy(one) == render_policy(two)


def test_g09_the_policy_is_the_same_in_another_process_and_directory(tmp_path: Path) -> None:
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

    assert result.stdout.strip() == hashlib.sha256(policy_of("rich")).hexdigest()


def test_the_header_names_version_profile_and_digest_of_the_rules() -> None:
    first = policy_of("web").split(b"\n")[0].decode()

    digest = rules_sha256()[:16]
    assert first == f"# contrast-tasks {__version__}, profile kata-qemu, rules sha256:{digest}"
    assert claimed_version(policy_of("web")) == __version__


def test_the_rules_stand_in_the_policy_in_their_compact_form() -> None:
    policy = policy_of("web")
    assert compact_rules(needed_parts(parse_policy(policy))).encode() in policy
    assert has_our_rules(policy_of("web"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\ndefault ", b"\ndefault  "),
        (b"\nSetPolicyRequest:=", b"\nSetPolicyRequest:=true\nother:="),
        (b"\npolicy_container(", b"\nSetPolicyRequest if true\npolicy_container("),
        (
            b"\npolicy_copy:=",
            b"\npolicy_copy = policy_other\nSetPolicyRequest if 1 == 1\npolicy_other:=",
        ),
        (b"\npolicy_version:=", b"\npolicy_other if { 1 == 1 }\n\npolicy_version:="),
        (b"\npolicy_container(`web-svc`):=", b"\npolicy_container(x):="),
        (b"\npolicy_container(`web-svc`):=", b"\npolicy_container(`web-svc`) :="),
        (b"\npolicy_copy:=", b"\npolicy_copy(x):="),
        (b"\npolicy_pod:=", b"\npolicy_pod(`web-svc`):="),
        (b"# contrast-tasks ", b"x"),
        (b"rules sha256:", b"rules sha256: "),
    ],
)
def test_one_changed_byte_makes_the_rules_not_ours(old: bytes, new: bytes) -> None:
    assert not has_our_rules(policy_of("web").replace(old, new, 1))


def test_the_digest_in_the_header_alone_proves_nothing() -> None:
    header, _, _ = policy_of("web").partition(b"\n")

    assert not has_our_rules(header + b"\npackage agent_policy\n\npolicy_version := 2\n")


@pytest.mark.parametrize("policy", [b"", b"# contrast-tasks", b"package agent_policy\n"])
def test_a_policy_without_our_header_claims_no_version(policy: bytes) -> None:
    assert claimed_version(policy) == ""


@pytest.mark.parametrize("pod", [web, rich, coordinator])
def test_the_data_block_is_read_back(pod: object) -> None:
    data = pod()  # type: ignore[operator]  # a table of functions

    assert parse_policy(render_policy(data)) == json.loads(json.dumps(data.to_json()))


@pytest.mark.parametrize("pod", [web, rich, coordinator])
def test_the_data_block_fits_its_schema(pod: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(pod().to_json())  # type: ignore[operator]  # a table


@pytest.mark.parametrize(
    "change",
    [{"profile": ""}, {"version": 1}, {"containers": []}, {"other": 1}, {"pod": {}}],
    ids=str,
)
def test_a_wrong_data_block_does_not_fit_the_schema(change: dict[str, object]) -> None:
    block = {**web().to_json(), **change}

    assert not jsonschema.Draft202012Validator(SCHEMA).is_valid(block)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (b"package agent_policy\n", "no data block"),
        (b"\npolicy_version:={,}\n", "not valid JSON"),
        (b"\npolicy_version:=2\n", "of another version"),
        (b"\npolicy_version:=2\npolicy_container(``):=1\n", "of another version"),
        (b"\xff\xfe", "no data block"),
    ],
)
def test_a_foreign_policy_is_not_read(policy: bytes, message: str) -> None:
    with pytest.raises(ContrastError, match=message):
        parse_policy(policy)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_request_that_is_switched_on_is_allowed(engine: str) -> None:
    data = web()
    requests = {**data.profile.requests, "WriteStreamRequest": True}
    opened = data.replace(profile=data.profile.replace(requests=requests))

    guest = PolicyEngine(render_policy(opened), engine=engine)

    assert guest.ask("WriteStreamRequest", {}).allowed
    assert not guest.ask("CloseStdinRequest", {}).allowed


def test_the_web_pods_data_is_the_golden_one(request: pytest.FixtureRequest) -> None:
    golden = GOLDEN / "web.json"
    found = json.dumps(parse_policy(policy_of("web")), indent=2, sort_keys=True) + "\n"
    if request.config.getoption("--update-golden"):
        golden.write_text(found)

    assert found == golden.read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"`tty`:false", b"`tty`:0", "/containers/0/process/tty is 0, expected"),
        (b"\npolicy_version:=2", b"\npolicy_version:=1", "/version"),
        (b"`tty`:false", b"`tty`:" + b"[" * 100_000, "nested too deeply"),
    ],
    ids=["type", "version", "depth"],
)
def test_a_data_block_of_another_form_is_refused_with_its_place(
    old: bytes, new: bytes, message: str
) -> None:
    with pytest.raises(ContrastError, match=message):
        parse_policy(policy_of("web").replace(old, new, 1))
