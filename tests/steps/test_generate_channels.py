"""The policy in the output of `generate` by release, taken apart with the standard library (docs/internals/releases.md 1.1)."""

import base64
import gzip
import json
import tomllib
from typing import Any

import pytest
import yaml

from contrast_tasks.files import sha256_hex
from contrast_tasks.releases.choose import row_of
from contrast_tasks.releases.table import Release
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject, deployment

POLICY = "io.katacontainers.config.agent.policy"
INITDATA = "io.katacontainers.config.hypervisor.cc_init_data"
RELEASES = [
    pytest.param("v1.9.0", "metal-qemu-tdx", "plain", id="v1.9"),
    pytest.param("v1.11.0", "metal-qemu-tdx", "plain", id="v1.11"),
    pytest.param("v1.12.0", "rke2-qemu-tdx", "gzip", id="v1.12 rke2"),
    pytest.param("v1.13.0", "metal-qemu-tdx", "gzip", id="v1.13"),
    pytest.param("v1.16.0", "metal-qemu-tdx", "initdata", id="v1.16"),
    pytest.param("v1.21.0", "metal-qemu-tdx", "initdata", id="v1.21"),
]


def choose(project: FakeProject, release: str, platform: str) -> None:
    project.settings(**{"platform": f'"{platform}"', "runtime.release": f'"{release}"'})
    lines = project.read("contrast.toml").partition("[reference_values.")[0].splitlines()
    text = "\n".join(line for line in lines if not line.startswith("reference_values."))
    (project.root / "contrast.toml").write_text(f"{text}\n")


def till(project: FakeProject) -> dict[str, Any]:
    """Return the annotations of the pods of `till` in the output."""
    text = project.read("build/deployment/till/till.yaml")
    document = next(each for each in yaml.safe_load_all(text) if each)
    found: dict[str, Any] = document["spec"]["template"]["metadata"]["annotations"]
    return found


def document_of(annotations: dict[str, Any], channel: str) -> tuple[bytes, str]:
    """Return what is hashed and the policy in it."""
    if channel == "initdata":
        content = gzip.decompress(base64.b64decode(annotations[INITDATA], validate=True))
        read = tomllib.loads(content.decode())
        assert (read["version"], read["algorithm"]) == ("0.1.0", "sha256")
        assert list(read["data"]) == ["policy.rego"]
        return content, read["data"]["policy.rego"]
    content = base64.b64decode(annotations[POLICY], validate=True)
    return content, (gzip.decompress(content) if channel == "gzip" else content).decode()


@pytest.mark.parametrize(("release", "platform", "channel"), RELEASES)
def test_annotation_files_record_and_manifest_have_the_channel_of_the_release(
    terminal: Terminal, project: FakeProject, release: str, platform: str, channel: str
) -> None:
    choose(project, release, platform)

    terminal.run("generate")

    annotations = till(project)
    content, policy = document_of(annotations, channel)
    outputs = project.outputs()
    suffix = {"plain": "rego", "gzip": "rego.gz", "initdata": "initdata.toml"}[channel]
    assert outputs["build/policies/Deployment.till.rego"].decode() == policy
    assert outputs[f"build/policies/Deployment.till.{suffix}"] == content
    assert len({POLICY, INITDATA} & annotations.keys()) == 1
    record = json.loads(outputs["build/workloads/Deployment.till.json"])
    assert record["policy_sha256"] == sha256_hex(content)
    assert sha256_hex(content) in json.loads(outputs["manifest.json"])["Policies"]


def test_aks_keeps_plain_policies_where_the_others_pack_them() -> None:
    release = row_of("v1.12.0")

    assert isinstance(release, Release)
    assert release.channel_of("aks-clh-snp") == "plain"


def test_another_release_writes_every_policy_anew_and_removes_the_files_of_the_other_channel(
    terminal: Terminal, project: FakeProject
) -> None:
    choose(project, "v1.16.0", "metal-qemu-tdx")
    terminal.run("generate")

    choose(project, "v1.13.0", "metal-qemu-tdx")
    # Its pods get an image store by default, whose container is in the policy.
    skipping = ("generate", "--skip-image-store")
    terminal.run(*skipping)

    policies = sorted(name for name in project.outputs() if "/policies/Deployment.till" in name)
    assert policies == [
        "build/policies/Deployment.till.rego",
        "build/policies/Deployment.till.rego.gz",
    ]
    text = project.read("build/policies/Deployment.till.rego")
    assert document_of(till(project), "gzip")[1] == text
    assert "up to date" in terminal.run(*skipping).err


def annotated(key: str, value: str) -> str:
    """Return a Deployment whose pods have an annotation, in line 14."""
    return deployment("till").replace(
        "    metadata:\n      labels:",
        f"    metadata:\n      annotations:\n        kept: x\n        {key}: {value}\n      labels:",
    )


PLAIN = base64.b64encode(b"package agent_policy\n").decode()
PACKED = base64.b64encode(gzip.compress(b"package agent_policy\n")).decode()
MEASURED = base64.b64encode(
    gzip.compress(
        b"version = '0.1.0'\nalgorithm = 'sha256'\n\n[data]\n'policy.rego' = \"package agent_policy\\n\"\n"
    )
).decode()


@pytest.mark.first(2)
@pytest.mark.parametrize(
    ("release", "channel", "key", "value", "warning"),
    [
        pytest.param(
            "v1.13.0",
            "gzip",
            POLICY,
            PLAIN,
            f"found the policy as text in {POLICY}, the release of the runtime expects the policy in gzip in {POLICY}",
            id="text where gzip is expected",
        ),
        pytest.param(
            "v1.11.0",
            "plain",
            POLICY,
            PACKED,
            f"found the policy in gzip in {POLICY}, the release of the runtime expects the policy as text in {POLICY}",
            id="gzip where text is expected",
        ),
        pytest.param(
            "v1.13.0",
            "gzip",
            INITDATA,
            MEASURED,
            f"found an initdata document in {INITDATA}, the release of the runtime expects the policy in gzip in {POLICY}",
            id="initdata where gzip is expected",
        ),
        pytest.param(
            "v1.21.0",
            "initdata",
            POLICY,
            PLAIN,
            f"found the policy as text in {POLICY}, the release of the runtime expects an initdata document in {INITDATA}",
            id="text where initdata is expected",
        ),
        pytest.param("v1.21.0", "initdata", INITDATA, MEASURED, "", id="initdata as expected"),
        pytest.param("v1.13.0", "gzip", POLICY, PACKED, "", id="gzip as expected"),
        pytest.param("v1.11.0", "plain", POLICY, PLAIN, "", id="text as expected"),
        pytest.param("v1.21.0", "initdata", INITDATA, "nonsense", "", id="nonsense"),
    ],
)
def test_a_policy_in_the_source_is_replaced_and_one_of_another_channel_is_named_with_its_line(
    terminal: Terminal,
    project: FakeProject,
    release: str,
    channel: str,
    key: str,
    value: str,
    warning: str,
) -> None:
    choose(project, release, "metal-qemu-tdx")
    project.write("till/till.yaml", deployment("till"))
    terminal.run("generate")
    wanted = till(project)
    project.write("till/till.yaml", annotated(key, value))

    shown = terminal.run("generate")
    linted = terminal.run("lint")

    # The policy cannot contain itself, so it is the one without any annotation.
    assert till(project) == {**wanted, "kept": "x"}
    assert document_of(till(project), channel)
    place = "deployment/till/till.yaml:14: warning[W102 policy-channel]: Deployment/till: "
    for err in (shown.err, linted.err):
        assert (f"{place}{warning}" in err) if warning else ("W102" not in err)


def test_another_zlib_is_a_reason_only_where_compressed_bytes_are_hashed(
    terminal: Terminal, project: FakeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = {}
    for release in ("v1.11.0", "v1.13.0", "v1.21.0"):
        choose(project, release, "metal-qemu-tdx")
        terminal.run("generate")
        with monkeypatch.context() as patched:
            patched.setattr("contrast_tasks.manifest.compression.implementation", lambda: "9.9")
            reasons[release] = terminal.run("explain", "Deployment/till").out.splitlines()[-1]

    assert reasons == {
        "v1.11.0": "  is up to date",
        "v1.13.0": "  will run because zlib changed",
        "v1.21.0": "  is up to date",
    }
