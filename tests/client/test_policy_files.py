"""The policies in verify/: what each channel leaves there, and what is read back of it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.audit import run_audit
from contrast_tasks.client.policy_files import load_policies, policy_files, policy_key_of
from contrast_tasks.errors import MismatchError
from contrast_tasks.manifest.initdata import render_initdata
from contrast_tasks.manifest.model import PolicyEntry
from tests.fakes.deployment import Project
from tests.fakes.testdata import RELEASES

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

PLAIN = (RELEASES / "v1.11.0/channel/metal-qemu-snp/web.policy.bin").read_bytes()
GZIP = (RELEASES / "v1.13.0/channel/metal-qemu-snp/web.policy.bin").read_bytes()
TOML = (RELEASES / "v1.21.0/channel/metal-qemu-snp/web.initdata.toml").read_bytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write(folder: Path, documents: Sequence[bytes]) -> None:
    for name, content in policy_files((sha256(each), each) for each in documents):
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("document", "names"),
    [
        pytest.param(PLAIN, ["policy.{}.rego"], id="plain"),
        pytest.param(GZIP, ["policy.{}.rego", "policy.{}.rego.gz"], id="gzip"),
        pytest.param(TOML, ["initdata.{}.toml"], id="initdata"),
        pytest.param(b"neither", ["policy.{}.rego"], id="neither"),
    ],
)
def test_each_channel_leaves_files_named_by_its_key(
    tmp_path: Path, document: bytes, names: list[str]
) -> None:
    key = sha256(document)
    write(tmp_path, [document])

    assert sorted(path.name for path in tmp_path.iterdir()) == [name.format(key) for name in names]
    assert load_policies(tmp_path) == {key: document}
    assert all(policy_key_of(path.name) for path in tmp_path.iterdir())


def test_a_compressed_policy_is_written_as_text_too(tmp_path: Path) -> None:
    write(tmp_path, [GZIP])

    text = (tmp_path / f"policy.{sha256(GZIP)}.rego").read_text()
    assert text.startswith("package agent_policy\n")
    assert "stub policy for 'web'" in text


def test_gzip_in_the_file_of_the_text_is_read_as_v1_12_wrote_it(tmp_path: Path) -> None:
    (tmp_path / f"policy.{sha256(GZIP)}.rego").write_bytes(GZIP)

    assert load_policies(tmp_path) == {sha256(GZIP): GZIP}


def test_the_text_of_a_compressed_policy_alone_proves_nothing(tmp_path: Path) -> None:
    write(tmp_path, [GZIP])
    (tmp_path / f"policy.{sha256(GZIP)}.rego.gz").unlink()

    with pytest.raises(MismatchError, match=f"its name says {sha256(GZIP)}") as caught:
        load_policies(tmp_path)

    assert "unpacked by another tool" in caught.value.hint


@pytest.mark.parametrize(
    ("document", "changed", "message"),
    [
        pytest.param(PLAIN, "policy.{}.rego", "the policy has hash", id="plain"),
        pytest.param(GZIP, "policy.{}.rego", "is not the one in policy.{}.rego.gz", id="text"),
        pytest.param(GZIP, "policy.{}.rego.gz", "the policy has hash", id="gzip"),
        pytest.param(TOML, "initdata.{}.toml", "the policy has hash", id="initdata"),
    ],
)
def test_a_changed_file_is_named(
    tmp_path: Path, document: bytes, changed: str, message: str
) -> None:
    key = sha256(document)
    write(tmp_path, [document])
    path = tmp_path / changed.format(key)
    path.write_bytes(path.read_bytes()[:-1] + b"!")

    with pytest.raises(MismatchError, match=message.format(key)) as caught:
        load_policies(tmp_path)

    assert str(caught.value.where) == f"{tmp_path.name}/{changed.format(key)}"


@pytest.mark.parametrize(
    "name", ["policy.rego", "initdata.toml", f"policy.{'A' * 64}.rego", "manifest.0.json"]
)
def test_other_files_hold_no_policy(name: str) -> None:
    assert not policy_key_of(name)


def test_an_audit_tells_what_initdata_has_besides_the_policy(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    processor = SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("audit") / "processor")
    files = {"policy.rego": b"package agent_policy\n", "contrast.insecure-debug": b"true"}
    documents = [TOML, render_initdata(files)]
    project = Project(tmp_path, processor)
    project.entries = {
        sha256(documents[0]): PolicyEntry(sans=("coordinator",), role="coordinator"),
        sha256(documents[1]): PolicyEntry(sans=("web",)),
    }
    verify = tmp_path / "verify"
    verify.mkdir()
    (verify / "manifest.0.json").write_bytes(project.write_manifest())
    write(verify, documents)

    text = run_audit(project.settings).text

    assert text.count("initdata has") == 1
    assert "  guest    initdata has contrast.insecure-debug too: true\n" in text
    assert text.count("the policy has no data block") == 2
