"""Variables of ConfigMaps and Secrets that are made elsewhere: what the host may choose, and what it must not."""

import re

import pytest

from contrast_tasks.findings import FindingsError
from contrast_tasks.policy.expectations import Container, Pattern
from contrast_tasks.policy.model import Elsewhere
from tests.fakes.policy import DIGEST, image, one_container

REFERENCE = f"example.com/app:1@{DIGEST}"
MADE = {
    ("Secret", None, "any"): Elsewhere(),
    ("Secret", None, "known"): Elsewhere(keys=("user", "password"), values={"user": "app"}),
}
PASSWORD = "env: [{name: P, valueFrom: {secretKeyRef: {name: any, key: p}}}]"


def app(fields: str) -> Container:
    images = {REFERENCE: image(REFERENCE, entrypoint=("/entry",), cmd=("cmd",))}
    return one_container(fields, images=images, elsewhere=MADE).container("app")


def found_in(fields: str) -> list[str]:
    with pytest.raises(FindingsError) as caught:
        app(fields)
    return [f.code for f in caught.value.findings if f.severity.value == "error"]


def test_the_host_chooses_the_value_and_not_the_name() -> None:
    env = app(PASSWORD).env

    assert [*env.patterns] == ["P"]
    assert env.patterns["P"].required
    assert re.fullmatch(env.patterns["P"].regex, "P=two\nlines = and 'signs'")
    assert not re.fullmatch(env.patterns["P"].regex, "Q=x")


def test_declared_values_are_part_of_the_policy_and_other_keys_are_free() -> None:
    env = app("envFrom: [{secretRef: {name: known}, prefix: DB_}]").env

    assert env.fixed == {"DB_user": "app"}
    assert [*env.patterns] == ["DB_password"]


def test_a_word_of_a_command_is_one_word_and_no_option() -> None:
    args = app(f'args: [--user, "$(P)", "--auth=$(P)"], {PASSWORD}').process.args

    alone, joined = args[2], args[3]
    assert isinstance(alone, Pattern)
    assert isinstance(joined, Pattern)
    assert re.fullmatch(alone.regex, "s3cr3t+/=")
    for value in ("", "-x", "--loadmodule", "a b", "a;b", "$(x)", "a\nb", "`x`", "a'"):
        assert not re.fullmatch(alone.regex, value)
        assert not re.fullmatch(joined.regex, f"--auth={value}")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(f'command: ["$(P)"], {PASSWORD}', id="the program"),
        pytest.param(f'command: ["/bin/$(P)"], {PASSWORD}', id="a part of its path"),
        pytest.param(f'command: [sh, -c, "$(P)"], {PASSWORD}', id="the script of a shell"),
        pytest.param(f'command: [sh, -ec, "$(P) x"], {PASSWORD}', id="the first word of a script"),
        pytest.param(PASSWORD.replace("name: P", "name: PATH"), id="where programs are looked for"),
        pytest.param(PASSWORD.replace("name: P", "name: LD_PRELOAD"), id="what is loaded first"),
        pytest.param("envFrom: [{secretRef: {name: any}}]", id="variables without names"),
        pytest.param(
            PASSWORD.replace("any, key: p", "known, key: p"), id="a key that is not among them"
        ),
        pytest.param(PASSWORD.replace("any", "other"), id="an object of which nothing is said"),
    ],
)
def test_what_the_host_must_not_choose_is_refused(fields: str) -> None:
    assert found_in(fields) == ["G080"]
