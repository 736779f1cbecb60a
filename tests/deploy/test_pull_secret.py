"""The Secret of [guest_pulls].

Its form (tables by host name with a dot at the end, `auth`, `ca-certs`, `insecure-skip-verify`, `extra-env`) is that of the
reference product's how-to "Registry authentication"; names of Secret and key: docs/internals/releases.md 4.
"""

import base64
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrast_tasks.deploy.pull_secret import render_pull_secret
from contrast_tasks.errors import ImageError, UsageError
from contrast_tasks.images.credentials import Credential
from contrast_tasks.releases.table import V1_13, V1_15, V1_21, Release
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.commands import Terminal, quiet_environment

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
ME = Credential(username="me", password="secret")
HEAD = 'platform = "metal-qemu-snp"\nsources = ["d"]\n'


def settings(root: Path, text: str) -> Settings:
    (root / "contrast.toml").write_text(f"{HEAD}{text}")
    return load_settings(root, environ={})


def rendered(
    root: Path,
    text: str,
    *,
    release: Release = V1_21,
    found: Credential | None = ME,
    file: str = PEM,
) -> dict[str, Any]:
    """Return the Secret with its file parsed."""
    pulls = settings(root, text).guest_pulls
    document = yaml.safe_load(
        render_pull_secret(pulls, release, find=lambda *_: found, read=lambda _: file)
    )
    content = base64.b64decode(document["data"].pop("contrast-imagepuller.toml"))
    return {**document, "file": tomllib.loads(content.decode())}


def test_credentials_are_named_by_host_with_a_dot_at_the_end(tmp_path: Path) -> None:
    found = rendered(tmp_path, '[guest_pulls.registries."registry.example"]\n')

    assert found == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "contrast-node-installer-imagepuller-config"},
        "type": "Opaque",
        "data": {},
        # base64 of me:secret
        "file": {"registries": {"registry.example.": {"auth": "bWU6c2VjcmV0"}}},
    }


def test_to_v1_15_it_lies_in_the_installers_namespace(tmp_path: Path) -> None:
    found = rendered(tmp_path, '[guest_pulls.registries."r.example"]\n', release=V1_15)

    assert found["metadata"]["namespace"] == "kube-system"


def test_authorities_proxies_and_hosts_below_one(tmp_path: Path) -> None:
    found = rendered(
        tmp_path,
        "[guest_pulls]\n"
        'https_proxy = "http://proxy.example:3128"\nno_proxy = ".corp"\n'
        '[guest_pulls.registries."registry.corp"]\nauthorities = "ca.pem"\ncredentials = false\n'
        '[guest_pulls.registries.".lab.corp"]\nskip_verify = true\n'
        '[guest_pulls.registries."."]\nauthorities = "ca.pem"\n',
    )

    assert found["file"] == {
        "extra-env": {"HTTPS_PROXY": "http://proxy.example:3128", "NO_PROXY": ".corp"},
        "registries": {
            "registry.corp.": {"ca-certs": PEM},
            ".lab.corp.": {"insecure-skip-verify": True},
            ".": {"ca-certs": PEM},
        },
    }


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "there are no credentials for r.example"),
        (Credential(identity_token="t"), "there are an identity token only for r.example"),
    ],
)
def test_missing_credentials_are_told_with_what_to_do(
    tmp_path: Path, found: Credential | None, told: str
) -> None:
    with pytest.raises(ImageError, match=told) as caught:
        rendered(tmp_path, '[guest_pulls.registries."r.example"]\n', found=found)

    assert "docker login r.example" in caught.value.hint


def test_credentials_never_go_to_a_registry_without_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="guests would send credentials"):
        rendered(tmp_path, '[guest_pulls.registries."r.example"]\nskip_verify = true\n')


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    text = '[guest_pulls.registries."r.example"]\nauthorities = "ca.pem"\n'

    with pytest.raises(ImageError, match=r"ca\.pem holds no certificate in PEM"):
        rendered(tmp_path, text, file="hello")


def test_a_release_that_reads_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"v1\.13\.0 reads no credentials"):
        rendered(tmp_path, '[guest_pulls.registries."r.example"]\n', release=V1_13)


def test_settings_without_the_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="say nothing about how guests pull"):
        rendered(tmp_path, "")


@pytest.mark.parametrize(
    "name",
    ["registry.example:5000", "10.0.0.1", "https://r.example", "R.example", "..", "r.example."],
)
def test_a_name_that_guests_cannot_match_is_refused_at_its_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, f'[guest_pulls.registries."{name}"]\n')

    assert "without a port" in f"{caught.value} {caught.value.hint}"


class TestCommand:
    """`runtime --credentials`."""

    @pytest.fixture
    def terminal(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> Terminal:
        quiet_environment(monkeypatch, tmp_path)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
        monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
        (tmp_path / "config.json").write_text('{"auths": {"r.example": {"auth": "bWU6c2VjcmV0"}}}')
        settings(tmp_path, '[guest_pulls.registries."r.example"]\n')
        return Terminal(tmp_path, capsys, monkeypatch)

    def test_what_docker_login_left_is_printed_for_kubectl(self, terminal: Terminal) -> None:
        shown = terminal.run("runtime", "--credentials", "--release", "v1.21.0")

        assert (shown.code, shown.err) == (0, "")
        content = yaml.safe_load(shown.out)["data"]["contrast-imagepuller.toml"]
        assert b'auth = "bWU6c2VjcmV0"' in base64.b64decode(content)

    @pytest.mark.parametrize(
        "words",
        [
            ("runtime", "--credentials", "--write", "secret.yml"),
            ("--output", "json", "runtime", "--credentials"),
        ],
    )
    def test_it_goes_to_no_file_and_no_document(
        self, terminal: Terminal, words: tuple[str, ...]
    ) -> None:
        shown = terminal.run(*words)

        assert shown.code == 2
        assert "secret.yml" not in {path.name for path in terminal.root.iterdir()}
        assert "bWU6c2VjcmV0" not in shown.out + shown.err

    def test_a_missing_file_of_authorities_is_named(self, terminal: Terminal) -> None:
        settings(
            terminal.root,
            '[guest_pulls.registries."r.example"]\ncredentials = false\nauthorities = "gone.pem"\n',
        )

        shown = terminal.run("runtime", "--credentials", "--release", "v1.21.0")

        assert shown.code == 2
        assert "gone.pem cannot be read" in shown.err

    def test_without_an_installer_nothing_else_is_printed(self, terminal: Terminal) -> None:
        shown = terminal.run("runtime")

        assert shown.code == 2
        assert "no --installer was given" in shown.err
