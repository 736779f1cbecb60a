"""What users of other tools reported about policies: cases of testdata/reports as their expected.txt say.

Most of them are for a platform whose policies name layers, of which the cases have none; those run on `local`.
"""

import hashlib
import json
import posixpath
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from contrast_tasks.policy.engine import ENGINES
from coordinator.ca import CertificateAuthority
from tests.fakes.commands import Terminal
from tests.fakes.generated import GeneratedPod
from tests.fakes.reported import on_local, said
from tests.fakes.testdata import REPORTS

Reported = Callable[[str], Terminal]
NOW = datetime(2026, 11, 30, tzinfo=UTC)


def generated(terminal: Terminal, name: str) -> GeneratedPod:
    """Generate a case on platform local; return the pod of its Deployment."""
    shown = on_local(terminal).run("generate")
    assert shown.code == 0, shown.err
    return GeneratedPod(terminal.root, f"Deployment.{name}")


def in_env(entry: str, *others: str | None) -> Callable[[dict[str, Any]], None]:
    """Return a change that puts others in the place of an entry of the environment."""

    def bend(request: dict[str, Any]) -> None:
        listed = request["OCI"]["Process"]["Env"]
        place = listed.index(entry)
        listed[place : place + 1] = [each for each in others if each is not None]

    return bend


def cleaned(path: str) -> str:
    """Return a path as Go's path.Clean does, which makes one slash of two at the beginning too."""
    return posixpath.normpath("/" + path.lstrip("/"))


def elsewhere(path: str) -> Callable[[dict[str, Any]], None]:
    """Return a change that moves the mount at a path into another folder."""

    def bend(request: dict[str, Any]) -> None:
        for mount in request["OCI"]["Mounts"]:
            if cleaned(mount["destination"]) == path:
                mount["destination"] = f"{path}-other"

    return bend


def authority() -> CertificateAuthority:
    return CertificateAuthority(
        root_key=ec.generate_private_key(ec.SECP384R1()),
        mesh_key=ec.generate_private_key(ec.SECP384R1()),
        root_serial=1,
        root_issued_at=NOW,
        now=NOW,
        random_bytes=lambda count: bytes(range(1, count + 1)),
    )


@pytest.mark.first(1)
@pytest.mark.parametrize("engine", ENGINES)
def test_08_any_text_of_a_variable_is_in_the_policy(reported: Reported, engine: str) -> None:
    pod = generated(reported("08-env-unicode"), "uni")

    assert pod.denied(engine) == []
    written = yaml.safe_load((REPORTS / "08-env-unicode/deployment/a.yml").read_text())
    variables = written["spec"]["template"]["spec"]["containers"][0]["env"]
    assert len(variables[2]["value"]) > 1000
    for variable in variables:
        # Its `$( $$ $$( )` is one reference to a variable that nobody has, and such a reference stays as it is.
        entry = f"{variable['name']}={variable['value']}"
        assert entry in pod.request("create a")["OCI"]["Process"]["Env"]
        assert pod.codes("create a", in_env(entry, entry + "x"), engine)


@pytest.mark.first(1)
@pytest.mark.parametrize("engine", ENGINES)
def test_09_a_variable_of_the_pod_follows_that_of_the_image(
    reported: Reported, engine: str
) -> None:
    pod = generated(reported("09-image-env-overridden"), "shop")

    env = pod.request("create a")["OCI"]["Process"]["Env"]
    assert env[0] == "PATH=/opt/bin"
    assert env[1].startswith("HOSTNAME=")
    assert [each for each in env[2:] if not each.startswith("KUBERNETES_")] == [
        *("LANG=C.UTF-8", "PORT=80", "PORT=8080")
    ]
    assert pod.denied(engine) == []

    def other_order(request: dict[str, Any]) -> None:
        listed = request["OCI"]["Process"]["Env"]
        first, second = listed.index("PORT=80"), listed.index("PORT=8080")
        listed[first], listed[second] = listed[second], listed[first]

    for bend in (
        other_order,
        in_env("PORT=80", None),
        in_env("PORT=8080", None),
        in_env("PORT=80", "PORT=81"),
        in_env("PORT=8080", "PORT=8081"),
        in_env("PORT=8080", "PORT=80"),
        in_env("PORT=8080", "PORT=8080", "PORT=8081"),
        in_env("PORT=8080", "PORT=8080", "PORT=8080"),
    ):
        assert set(pod.codes("create a", bend, engine)) == {"E_ENV"}


@pytest.mark.first(1)
@pytest.mark.parametrize("engine", ENGINES)
def test_11_an_entry_point_of_nothing_is_none(reported: Reported, engine: str) -> None:
    pod = generated(reported("11-entrypoint-empty-string"), "shop")

    def with_entrypoint(request: dict[str, Any]) -> None:
        request["OCI"]["Process"]["Args"].insert(0, "")

    args = {name: pod.request(f"create {name}")["OCI"]["Process"]["Args"] for name in "ab"}
    assert args == {"a": ["nginx", "-g", "daemon off;"], "b": ["--x"]}
    assert pod.denied(engine) == []
    for name in args:
        assert set(pod.codes(f"create {name}", with_entrypoint, engine)) == {"E_ARGS"}


@pytest.mark.parametrize("platform", ["aks-clh-snp", "local"])
@pytest.mark.parametrize("command", ["generate", "lint"])
def test_13_values_that_no_variable_can_have_are_refused_at_their_place(
    reported: Reported, command: str, platform: str
) -> None:
    terminal = reported("13-binary-env-from-config")
    if platform == "local":
        on_local(terminal)

    found = [line for line in said(terminal, command) if "G080" in line]

    head = "error[G080 config-value]: Deployment/nul: the value"
    nul = "has a NUL character, so the container does not start"
    assert found == [
        f"19: {head} 'nul' of ConfigMap cfg {nul}",
        f"21: {head} 'NULS' of Secret bin {nul}",
        f"21: {head} 'RAW' of Secret bin is not UTF-8 text, so the policy cannot know what becomes of it",
    ]


@pytest.mark.first(1)
@pytest.mark.parametrize("engine", ENGINES)
def test_15_mount_paths_are_taken_as_they_are_cleaned(reported: Reported, engine: str) -> None:
    pod = generated(reported("15-mount-paths"), "mounts")

    mounted = {each["destination"] for each in pod.request("create a")["OCI"]["Mounts"]}
    wanted = {"/etc/app", "/var/data", "/relative/dir", "/with space/ü"}
    assert wanted <= {cleaned(each) for each in mounted}
    assert pod.denied(engine) == []
    for path in wanted:
        assert pod.codes("create a", elsewhere(path), engine)


@pytest.mark.first(1)
@pytest.mark.parametrize(
    ("release", "channel", "command"),
    [
        ("v1.11.0", "plain", "lint"),
        ("v1.13.0", "gzip", "generate"),
        ("v1.21.0", "initdata", "generate"),
    ],
)
def test_20_a_policy_that_is_too_large_is_refused_on_every_channel(
    reported: Reported, command: str, release: str, channel: str
) -> None:
    """The limit is that of the API server for all annotations of one object, names and values."""
    terminal = on_local(reported("20-annotation-too-large"))
    settings = terminal.root / "contrast.toml"
    settings.write_text(f'runtime.release = "{release}"\n{settings.read_text()}')
    if channel != "plain":
        # What the case has in every value is one letter, of which nothing is left when it is compressed.
        noise = hashlib.shake_256(b"20").hexdigest(300_000)
        source = terminal.root / "deployment" / "a.yml"
        text = re.sub(
            r"x{100,}", lambda match: noise[match.start() :][: len(match[0])], source.read_text()
        )
        source.write_text(text + f"  NOISE: {noise}\n")

    shown = terminal.run(command)

    assert shown.code == 12
    (line,) = [line for line in shown.err.splitlines() if "G081" in line]
    assert re.fullmatch(
        r"deployment/a\.yml:9: error\[G081 annotations-size\]: Deployment/big gets annotations of \d{3},\d{3} bytes,"
        r" expected at most 262,144; its policy has \d{3},\d{3} of them",
        line,
    )
    assert not (terminal.root / "build" / "deployment").exists()
    assert not (terminal.root / "manifest.json").exists()
    assert terminal.run("deploy").code != 0


@pytest.mark.sweep
def test_20_what_only_a_client_side_apply_makes_too_large_is_told(reported: Reported) -> None:
    terminal = on_local(reported("20-annotation-too-large"))
    settings = terminal.root / "contrast.toml"
    settings.write_text(f'runtime.release = "v1.11.0"\n{settings.read_text()}')
    source = terminal.root / "deployment" / "a.yml"
    half = re.sub(r"(x{50,})\1", r"\1", source.read_text())
    note = f"  name: big\n  annotations:\n    note: {'y' * 50_000}\n"
    source.write_text(half.replace("  name: big\n", note, 1))

    shown = terminal.run("lint")

    assert shown.code == 0
    (line,) = [line for line in shown.err.splitlines() if "G081" in line]
    assert re.fullmatch(
        r"deployment/a\.yml:11: note\[G081 applied-size\]: Deployment/big would get annotations of \d{3},\d{3} bytes by a"
        r" kubectl apply that notes the object in one, expected at most 262,144",
        line,
    )


def test_20_it_is_refused_on_the_platform_of_the_case_too(reported: Reported) -> None:
    (line,) = said(reported("20-annotation-too-large"))

    assert line.startswith("9: error[G081 annotations-size]: Deployment/big gets annotations of ")


def test_62_a_name_longer_than_a_label_gets_a_certificate_without_it(reported: Reported) -> None:
    """X.509 common names have at most 64 characters (X.520), labels of DNS 63 (RFC 1035)."""
    terminal = on_local(reported("62-long-workload-name"))

    assert terminal.run("generate").code == 0
    assert terminal.run("simulate").code == 0
    manifest = json.loads((terminal.root / "manifest.json").read_bytes())
    (entry,) = [each for each in manifest["Policies"].values() if not each.get("Role")]
    assert entry["SANs"] == ["*"]
    assert entry["WorkloadSecretID"].endswith("-and-stage-production")
    key = ec.generate_private_key(ec.SECP384R1())
    chain = authority().issue(
        public_key_spki=key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        ),
        sans=entry["SANs"],
        policy_hash=bytes(32),
        extensions=[],
        now=NOW,
    )
    leaf, _ = x509.load_pem_x509_certificates(chain)
    (name,) = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(name.value) <= 64


def test_63_what_is_only_mounted_may_be_made_by_the_cluster(reported: Reported) -> None:
    """Nothing is said of kube-root-ca.crt, which every namespace has."""
    terminal = reported("63-root-ca-configmap")
    note = "26: note[G080 config-missing]: Deployment/shop refers to the Secret shop-tls, expected it among the sources"
    assert said(terminal) == [note]

    assert on_local(terminal).run("generate").code == 0
    assert terminal.run("simulate").code == 0


@pytest.mark.parametrize("command", ["generate", "lint"])
def test_66_the_network_of_the_host_is_refused_at_its_line(
    reported: Reported, command: str
) -> None:
    (line,) = said(reported("66-hostnetwork"), command)

    assert line.startswith("14: error[G202 unsupported-field]: Deployment/hn: hostNetwork ")
