import base64
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.credentials import Credential, Credentials, auth_files, run_helper

Run = Callable[[str, str], tuple[int, str]]


def no_helper(program: str, text: str) -> tuple[int, str]:
    raise AssertionError(f"{program} was asked for {text}")


def auth(username: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{username}:{password}".encode()).decode()}


def credentials(tmp_path: Path, *configs: Any, run: Run = no_helper) -> Credentials:
    files = []
    for number, config in enumerate(configs):
        files.append(tmp_path / f"{number}.json")
        text = config if isinstance(config, str) else json.dumps(config)
        files[-1].write_text(text)
    return Credentials(files, run=run)


@pytest.mark.parametrize(
    "key", ["ghcr.io", "https://ghcr.io", "https://ghcr.io/", "ghcr.io/v2/", "http://ghcr.io/v1/"]
)
def test_an_entry_is_found_under_every_spelling_of_its_host(tmp_path: Path, key: str) -> None:
    found = credentials(tmp_path, {"auths": {key: auth("me", "a:b")}}).find("ghcr.io", "x/y")

    assert found == Credential(username="me", password="a:b")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_the_default_registry_is_found_under_its_old_names(tmp_path: Path, key: str) -> None:
    found = credentials(tmp_path, {"auths": {key: auth("me", "pw")}}).find("docker.io", "x/y")

    assert found == Credential(username="me", password="pw")


def test_another_host_or_port_gets_nothing(tmp_path: Path) -> None:
    store = credentials(tmp_path, {"auths": {"ghcr.io": auth("me", "pw")}})

    assert store.find("ghcr.io:5000", "x") is None
    assert store.find("evil.ghcr.io", "x") is None
    assert store.find("docker.io", "ghcr.io") is None


def test_the_longest_part_of_the_repository_wins(tmp_path: Path) -> None:
    store = credentials(
        tmp_path,
        {"auths": {"r.io": auth("all", "1"), "r.io/a": auth("a", "2"), "r.io/a/b": auth("b", "3")}},
    )

    assert store.find("r.io", "a/b") == Credential(username="b", password="3")
    assert store.find("r.io", "a/c") == Credential(username="a", password="2")
    assert store.find("r.io", "ab") == Credential(username="all", password="1")


def test_plain_user_name_and_identity_token_are_read(tmp_path: Path) -> None:
    store = credentials(
        tmp_path,
        {
            "auths": {
                "a.io": {"username": "me", "password": "pw"},
                "b.io": {"identitytoken": "long"} | auth("me", ""),
                "c.io": {},
            }
        },
    )

    assert store.find("a.io", "x") == Credential(username="me", password="pw")
    assert store.find("b.io", "x") == Credential(identity_token="long")
    assert store.find("c.io", "x") is None


def test_the_first_file_that_knows_the_host_wins_and_missing_files_are_passed_over(
    tmp_path: Path,
) -> None:
    first, second = {"auths": {"a.io": auth("1", "")}}, {"auths": {"a.io": auth("2", "")}}
    (tmp_path / "one.json").write_text(json.dumps(first))
    (tmp_path / "two.json").write_text(json.dumps(second))
    files = [tmp_path / "absent.json", tmp_path / "one.json", tmp_path / "two.json"]

    found = Credentials(files, run=no_helper).find("a.io", "x")

    assert found == Credential(username="1", password="")


def test_a_helper_is_asked_for_its_host_only(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def run(program: str, text: str) -> tuple[int, str]:
        asked.append((program, text))
        return 0, json.dumps({"ServerURL": text, "Username": "me", "Secret": "pw"})

    store = credentials(tmp_path, {"credHelpers": {"a.io": "vault"}}, run=run)

    assert store.find("a.io", "x") == Credential(username="me", password="pw")
    assert store.find("b.io", "x") is None
    assert asked == [("docker-credential-vault", "a.io")]


def test_the_store_is_asked_for_every_host_and_gives_identity_tokens(tmp_path: Path) -> None:
    def run(program: str, text: str) -> tuple[int, str]:
        return 0, json.dumps({"Username": "<token>", "Secret": f"for {text}"})

    store = credentials(tmp_path, {"credsStore": "desktop"}, run=run)

    assert store.find("docker.io", "x") == Credential(
        identity_token="for https://index.docker.io/v1/"
    )


def test_a_helper_that_knows_nothing_leaves_the_entries(tmp_path: Path) -> None:
    def run(program: str, text: str) -> tuple[int, str]:
        return 1, "credentials not found in native keychain\n"

    config = {"credsStore": "desktop", "auths": {"a.io": auth("me", "pw")}}

    found = credentials(tmp_path, config, run=run).find("a.io", "x")

    assert found == Credential(username="me", password="pw")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param((1, "keychain locked"), "failed for a.io, status 1", id="status"),
        pytest.param((0, "oops"), "gave no JSON with Username and Secret", id="no JSON"),
        pytest.param((0, "[]"), "gave no JSON with Username and Secret", id="list"),
        pytest.param((0, '{"Username": "me"}'), "gave no JSON with", id="no secret"),
    ],
)
def test_a_failing_helper_is_an_error_that_shows_none_of_its_output(
    tmp_path: Path, answer: tuple[int, str], problem: str
) -> None:
    store = credentials(tmp_path, {"credsStore": "vault"}, run=lambda *_: answer)

    with pytest.raises(ImageError, match="credential helper docker-credential-vault") as caught:
        store.find("a.io", "x")

    assert problem in str(caught.value)
    assert "keychain locked" not in str(caught.value)


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        pytest.param("{\n oops", "registry credentials: line 2: not valid JSON", id="syntax"),
        pytest.param("[" * 100_000, "registry credentials: line 1: nested too deeply", id="deep"),
        pytest.param("[]", "found a list, wanted an object", id="list"),
        pytest.param({"auths": [1]}, "/auths: found a list, wanted an object", id="auths"),
        pytest.param(
            {"auths": {"a.io": "x"}}, "/auths/a.io: found a string, wanted an object", id="entry"
        ),
        pytest.param(
            {"auths": {"a.io": {"auth": "%%"}}}, "/auths/a.io/auth: not base64 of", id="base64"
        ),
        pytest.param({"auths": {"a.io": {"auth": "bWU="}}}, "of user:password", id="no colon"),
        pytest.param(
            {"credHelpers": {"a.io": "../sh"}}, "is not the name of a helper", id="helper path"
        ),
        pytest.param(
            {"credHelpers": {"a.io": 1}}, "found an integer, wanted a string", id="helper number"
        ),
        pytest.param({"credsStore": "a b"}, "is not the name of a helper", id="store"),
    ],
)
def test_a_malformed_file_is_named(tmp_path: Path, config: Any, problem: str) -> None:
    store = credentials(tmp_path, config)

    with pytest.raises(ImageError) as caught:
        store.find("a.io", "x")

    assert problem in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.file == str(tmp_path / "0.json")


def test_the_files_are_those_of_podman_and_docker(tmp_path: Path) -> None:
    home = tmp_path / "home"

    assert auth_files({}, home) == [home / ".docker/config.json"]
    assert auth_files(
        {"REGISTRY_AUTH_FILE": "/r", "XDG_RUNTIME_DIR": "/x", "DOCKER_CONFIG": "/d"}, home
    ) == [Path("/r"), Path("/x/containers/auth.json"), Path("/d/config.json")]


def test_secrets_are_not_shown() -> None:
    shown = repr(Credential(username="me", password="secret-1", identity_token="secret-2"))

    assert "me" in shown
    assert "secret" not in shown


def test_a_helper_gets_the_host_on_stdin(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(f"#!{sys.executable}\nimport sys\nprint(sys.argv[1:], sys.stdin.read())\n")
    helper.chmod(0o755)

    assert run_helper(str(helper), "a.io") == (0, "['get'] a.io\n")


def test_a_helper_that_is_not_installed_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"helper .*docker-credential-none cannot be run"):
        run_helper(str(tmp_path / "docker-credential-none"), "a.io")
