"""Manifests that the releases of the reference product wrote, verified and audited with the policies that belong to them.

The policies' documents are in the YAML of the same releases.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from contrast_tasks.attestation.validators import validators_for
from contrast_tasks.client.audit import run_audit
from contrast_tasks.client.coordinator import Reach
from contrast_tasks.client.input_files import load_manifest
from contrast_tasks.client.verify import run_verify
from contrast_tasks.kube.annotated import load_annotated, policies_of
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.liar import Liar
from tests.fakes.testdata import RELEASES
from tests.manifest.samples import OWNER_DIGEST

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

WRITTEN = [
    path
    for path in sorted(RELEASES.glob("v1.*/*.json"))
    if path.with_suffix(".app.out.yml").is_file()
]
NAMES = [f"{path.parent.name}/{path.name}" for path in WRITTEN]


def outside(root: Path) -> Settings:
    return load_settings(root, environ={}, is_project=False)


def documents_of(root: Path, manifest: Path) -> Mapping[str, bytes]:
    parts = ("app", "coordinator")
    paths = [manifest.with_suffix(f".{part}.out.yml") for part in parts]
    return policies_of(load_annotated(outside(root), paths))


def verified(root: Path, path: Path, *more: Path) -> None:
    """Verify the newest of a history of manifests."""
    history = (*more, path)
    named = [load_manifest(outside(root), each).manifest.policies for each in history]
    documents = {key: text for each in history for key, text in documents_of(root, each).items()}
    liar = Liar(
        manifests=tuple(each.read_bytes() for each in history),
        policies=tuple(documents[key] for key in sorted({key for keys in named for key in keys})),
    )
    run_verify(
        outside(root),
        say=print,
        coordinator="host:1",
        manifest=path,
        reach=Reach(connect=liar.connect),
    )


@pytest.mark.first(5)
@pytest.mark.parametrize("path", WRITTEN, ids=NAMES)
def test_a_manifest_of_any_release_can_be_verified_and_audited(tmp_path: Path, path: Path) -> None:
    verified(tmp_path, path)

    report = run_audit(outside(tmp_path))

    assert (tmp_path / "verify/manifest.0.json").read_bytes() == path.read_bytes()
    assert f"  updates  by workload owner key {OWNER_DIGEST}\n" in report.text
    assert len(report.workloads) == path.read_text().count('"SANs"')


@pytest.mark.parametrize("path", WRITTEN, ids=NAMES)
def test_evidence_can_be_judged_by_a_manifest_of_any_release(tmp_path: Path, path: Path) -> None:
    manifest = load_manifest(outside(tmp_path), path).manifest

    entries = len(manifest.reference_values.snp) + len(manifest.reference_values.tdx)
    assert len(validators_for(manifest)) == entries > 0


def test_the_same_owner_in_another_list_is_no_change(tmp_path: Path) -> None:
    older, newer = (
        RELEASES / release / "metal-qemu-tdx.json" for release in ("v1.16.0", "v1.20.0")
    )
    verified(tmp_path, newer, older)

    report = run_audit(outside(tmp_path))

    assert "changed  the reference values" in report.text
    assert "workload owner keys" not in report.text


def test_an_entry_tells_how_many_processors_it_was_measured_for(tmp_path: Path) -> None:
    verified(tmp_path, RELEASES / "v1.20.0/metal-qemu-snp.json")

    text = run_audit(outside(tmp_path)).text

    assert [text.count(f"  measured for {count} processors\n") for count in (1, 8)] == [2, 2]
