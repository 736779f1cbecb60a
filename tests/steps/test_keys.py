import hashlib
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from contrast_tasks.errors import UsageError
from contrast_tasks.manifest.keys import generate_workload_owner
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.keys import prepare_keys
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

# Shorter than the real one, which takes seconds to make.
RSA_BITS = 2048


@pytest.fixture(autouse=True)
def short_seedshare_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contrast_tasks.manifest.keys.SEEDSHARE_BITS", RSA_BITS)


def _settings(project: FakeProject, **flags: object) -> Settings:
    given = {key.replace("__", "."): value for key, value in flags.items()}
    return load_settings(project.root, environ={}, flags=given)


def test_both_keys_are_made_once_and_never_again(project: FakeProject) -> None:
    settings = _settings(
        project,
        owners__disable_updates=False,
        owners__workload=("keys/w.pem",),
        owners__seedshare=("s.pem",),
    )

    first, wrote = prepare_keys(settings)
    contents = [(project.root / name).read_bytes() for name in ("keys/w.pem", "s.pem")]
    second, nothing = prepare_keys(settings)

    assert (wrote, nothing) == (["keys/w.pem", "s.pem"], [])
    assert first == second
    assert [(project.root / name).read_bytes() for name in ("keys/w.pem", "s.pem")] == contents


def test_a_key_is_readable_by_its_owner_only_whatever_the_umask(project: FakeProject) -> None:
    before = os.umask(0)
    try:
        prepare_keys(_settings(project, owners__disable_updates=False, owners__workload=("w.pem",)))
    finally:
        os.umask(before)

    assert (project.root / "w.pem").stat().st_mode & 0o777 == 0o600


def test_an_existing_key_is_kept(project: FakeProject) -> None:
    pem = generate_workload_owner()
    (project.root / "w.pem").write_bytes(pem)

    prepare_keys(_settings(project, owners__disable_updates=False, owners__workload=("w.pem",)))

    assert (project.root / "w.pem").read_bytes() == pem


def test_of_several_keys_none_is_made(project: FakeProject) -> None:
    settings = _settings(
        project, owners__disable_updates=False, owners__workload=("a.pem", "b.pem")
    )

    with pytest.raises(UsageError, match="owner key cannot be read") as caught:
        prepare_keys(settings)

    assert str(caught.value.where) == "a.pem"
    assert not (project.root / "a.pem").exists()


def test_several_keys_are_sorted_and_each_once(project: FakeProject) -> None:
    pem, other = generate_workload_owner(), generate_workload_owner()
    for name, content in (("a.pem", pem), ("b.pem", other), ("c.pem", pem)):
        (project.root / name).write_bytes(content)
    settings = _settings(
        project, owners__disable_updates=False, owners__workload=("a.pem", "b.pem", "c.pem")
    )

    owners = prepare_keys(settings)[0].workload_owners

    assert owners is not None
    assert len(owners) == 2
    assert list(owners) == sorted(owners)


def test_without_updates_no_workload_owner_key_is_made(project: FakeProject) -> None:
    settings = _settings(project, owners__disable_updates=True)

    assert prepare_keys(settings)[0].workload_owners is None
    assert not (project.root / "workload-owner.pem").exists()


def test_a_lost_key_whose_shares_are_here_is_not_made_anew(project: FakeProject) -> None:
    settings = _settings(
        project,
        owners__disable_updates=False,
        owners__workload=("w.pem",),
        owners__seedshare=("s.pem",),
    )
    (project.root / "seed-shares.json").write_text("{}")

    with pytest.raises(UsageError, match=r"would not open seed-shares\.json") as caught:
        prepare_keys(settings)

    assert str(caught.value.where) == "s.pem"
    assert "restore it from a backup" in caught.value.hint
    assert not (project.root / "s.pem").exists()
    (project.root / "seed-shares.json").rename(project.root / "earlier.json")
    assert prepare_keys(settings)[1] == ["w.pem", "s.pem"]


def test_a_lost_key_that_the_manifest_lists_is_told(
    terminal: Terminal, project: FakeProject
) -> None:
    flags = ("--set", 'owners.seedshare = ["s.pem"]')
    assert "made anew" not in terminal.run("generate", *flags).err
    (project.root / "s.pem").unlink()

    told = terminal.run("generate", *flags).err

    assert "warning: s.pem was missing and was made anew; manifest.json listed another key" in told
    assert "  hint: a coordinator with that manifest is recovered with the earlier key only" in told
    assert "made anew" not in terminal.run("generate", *flags).err


def test_a_file_that_is_no_key_is_refused_by_name(project: FakeProject) -> None:
    (project.root / "w.pem").write_text("not a key")

    with pytest.raises(UsageError) as caught:
        prepare_keys(_settings(project, owners__disable_updates=False, owners__workload=("w.pem",)))

    assert str(caught.value.where) == "w.pem"


def test_a_new_key_reaches_the_manifest_and_runs_no_workload(
    terminal: Terminal, project: FakeProject
) -> None:
    text = project.read("contrast.toml").replace("owners.disable_updates = true\n", "")
    (project.root / "contrast.toml").write_text(text)
    assert terminal.run("generate").code == 0
    first = json.loads(project.read("manifest.json"))["WorkloadOwnerKeyDigests"]
    (project.root / "workload-owner.pem").write_bytes(generate_workload_owner())

    shown = terminal.run("generate", "--output", "json")

    ran = [task["name"] for task in json.loads(shown.out)["tasks"] if "date" not in task["status"]]
    assert json.loads(project.read("manifest.json"))["WorkloadOwnerKeyDigests"] != first
    assert sorted(ran) == ["check", "keys", "manifest"]


@pytest.mark.parametrize(
    ("platform", "release", "name", "other"),
    [
        ("metal-qemu-snp", "v1.16.0", "WorkloadOwnerKeyDigests", "WorkloadOwnerPubKeys"),
        ("metal-qemu-snp", "v1.20.0", "WorkloadOwnerPubKeys", "WorkloadOwnerKeyDigests"),
    ],
)
def test_the_release_decides_whether_the_key_or_its_digest_is_listed(
    terminal: Terminal, project: FakeProject, platform: str, release: str, name: str, other: str
) -> None:
    # Source: docs/internals/releases.md 2.3; cryptography makes the DER.
    key = load_pem_private_key(generate_workload_owner(), None)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    (project.root / "workload-owner.pem").write_bytes(pem)
    text = project.read("contrast.toml").replace("owners.disable_updates = true\n", "")
    (project.root / "contrast.toml").write_text(text)

    terminal.run(
        *("generate", "--set", f'platform = "{platform}"'),
        *("--set", f'runtime.release = "{release}"'),
        *("--set", f'runtime.class = "contrast-cc-{platform}-0a1b2c3d"'),
    )

    manifest = json.loads(project.read("manifest.json"))
    form = spki.hex() if name.endswith("PubKeys") else hashlib.sha256(spki).hexdigest()
    assert manifest[name] == [form]
    assert other not in manifest


def test_platform_local_pins_the_root_of_a_processor_made_on_first_use(
    project: FakeProject,
) -> None:
    settings = _settings(project, platform="local")

    first = prepare_keys(settings)[0].local_root_sha256

    assert len(first) == 64
    assert prepare_keys(settings)[0].local_root_sha256 == first
    assert (Path(project.root) / ".contrast/local/processor").is_dir()


def test_several_owners_have_to_approve_if_the_settings_say_so(
    terminal: Terminal, project: FakeProject
) -> None:
    for name in ("anna.pem", "ben.pem"):
        (project.root / name).write_bytes(generate_workload_owner())
    text = project.read("contrast.toml").replace("owners.disable_updates = true\n", "")
    owners = 'owners.workload = ["anna.pem", "ben.pem"]\nowners.approvals = 2\n'
    (project.root / "contrast.toml").write_text(owners + text)
    newest = ("--set", 'runtime.release = "v1.21.0"')
    ours = ("--set", "components.reference = false")

    written = terminal.run("generate", *newest, *ours)
    too_many = terminal.run("generate", *newest, *ours, "--set", "owners.approvals = 3")
    digests_only = terminal.run("generate", *ours)
    theirs = terminal.run("generate", *newest)

    assert written.code == 0, written.err
    assert json.loads(project.read("manifest.json"))["WorkloadOwnerApprovals"] == 2
    for shown in (too_many, digests_only):
        assert shown.code == 12
        assert "error[M054 approvals]" in shown.err
    assert (
        "contrast.toml:2: error[M007 own-member]: owners.approvals is honoured by our" in theirs.err
    )
