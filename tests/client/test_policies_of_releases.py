"""Policies that the reference product's releases wrote into YAML, collected for `set`; the right keys are those of their manifests."""

import json
from pathlib import Path

import pytest
import yaml

from contrast_tasks.client.before_set import read_deployed
from contrast_tasks.errors import UsageError
from contrast_tasks.kube.documents import KubeError
from contrast_tasks.settings.load import load_settings
from contrast_tasks.settings.model import Settings
from tests.fakes.testdata import RELEASES

if not RELEASES.is_dir():
    pytest.skip("what releases wrote is not at hand", allow_module_level=True)

POLICY = "io.katacontainers.config.agent.policy"
INITDATA = "io.katacontainers.config.hypervisor.cc_init_data"
WRITTEN = sorted(
    (path.parent.name, path.name.removesuffix(".app.out.yml"))
    for path in RELEASES.glob("v1.*/*.app.out.yml")
)


def outputs(release: str, platform: str) -> list[Path]:
    folder = RELEASES / release
    return [folder / f"{platform}.{part}.out.yml" for part in ("app", "coordinator")]


def outside(root: Path) -> Settings:
    return load_settings(root, environ={}, is_project=False)


def inside(root: Path, release: str, platform: str) -> Settings:
    text = f'platform = "{platform}"\nsources = ["deployment"]\nruntime.release = "{release}"\n'
    (root / "contrast.toml").write_text(text)
    return load_settings(root, environ={})


def line_of(path: Path, annotation: str) -> int:
    lines = path.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if f"{annotation}:" in line)


@pytest.mark.first(5)
@pytest.mark.parametrize(("release", "platform"), WRITTEN)
def test_the_policies_of_annotated_yaml_are_those_of_its_manifest(
    tmp_path: Path, release: str, platform: str
) -> None:
    manifest = json.loads((RELEASES / release / f"{platform}.json").read_text())
    paths = outputs(release, platform)

    without_project = read_deployed(outside(tmp_path), paths, print).policies
    in_project = read_deployed(inside(tmp_path, release, platform), paths, print).policies

    assert sorted(without_project) == sorted(manifest["Policies"])
    assert in_project == without_project


@pytest.mark.parametrize(
    ("written", "platform", "chosen", "annotation", "message"),
    [
        pytest.param(
            "v1.11.0",
            "metal-qemu-snp",
            "v1.13.0",
            POLICY,
            f"has the policy as text in {POLICY}, release v1.13.0 of the runtime expects the policy in gzip in {POLICY}",
            id="text where gzip is expected",
        ),
        pytest.param(
            "v1.13.0",
            "metal-qemu-snp",
            "v1.11.0",
            POLICY,
            f"has the policy in gzip in {POLICY}, release v1.11.0 of the runtime expects the policy as text in {POLICY}",
            id="gzip where text is expected",
        ),
        pytest.param(
            "v1.21.0",
            "metal-qemu-tdx",
            "v1.13.0",
            INITDATA,
            f"has an initdata document in {INITDATA}, release v1.13.0 of the runtime expects the policy in gzip in {POLICY}",
            id="initdata where gzip is expected",
        ),
        pytest.param(
            "v1.13.0",
            "metal-qemu-tdx",
            "v1.16.0",
            POLICY,
            f"has the policy in gzip in {POLICY}, release v1.16.0 of the runtime expects an initdata document in {INITDATA}",
            id="gzip where initdata is expected",
        ),
        pytest.param(
            "v1.12.0",
            "aks-clh-snp",
            "v1.20.0",
            POLICY,
            f"has the policy as text in {POLICY}, release v1.20.0 of the runtime expects an initdata document in {INITDATA}",
            id="text where initdata is expected",
        ),
    ],
)
def test_a_policy_of_another_channel_is_refused_at_its_line(
    tmp_path: Path, written: str, platform: str, chosen: str, annotation: str, message: str
) -> None:
    paths = outputs(written, platform)
    settings = inside(tmp_path, chosen, "metal-qemu-snp")

    with pytest.raises(UsageError) as caught:
        read_deployed(settings, paths, print)

    assert message in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.where.line == line_of(paths[0], annotation)
    assert "run generate again" in caught.value.hint


def without_annotation(path: Path, name: str, folder: Path) -> Path:
    objects = [each for each in yaml.safe_load_all(path.read_text()) if each]
    for each in objects:
        if each["metadata"]["name"] == name and each["kind"] != "Service":
            del each["spec"]["template"]["metadata"]["annotations"]
    (folder / "app.yml").write_text(yaml.safe_dump_all(objects))
    return folder / "app.yml"


@pytest.mark.parametrize(
    ("release", "wanted"),
    [
        ("v1.9.0", f"{POLICY} with the policy as text, as release v1.9.0"),
        ("v1.13.0", f"{POLICY} with the policy in gzip, as release v1.13.0"),
        ("v1.16.0", f"{INITDATA} with an initdata document, as release v1.16.0"),
        ("v1.21.0", f"{INITDATA} with an initdata document, as release v1.21.0"),
    ],
)
def test_a_pod_without_annotation_is_refused_by_name(
    tmp_path: Path, release: str, wanted: str
) -> None:
    path = outputs(release, "metal-qemu-snp")[0]
    changed = without_annotation(path, "egressonly", tmp_path)

    with pytest.raises(UsageError, match=f"Deployment/egressonly has no annotation {wanted} of"):
        read_deployed(inside(tmp_path, release, "metal-qemu-snp"), [changed], print)
    (tmp_path / "contrast.toml").unlink()
    with pytest.raises(UsageError, match=f"has no annotation {POLICY} or {INITDATA};"):
        read_deployed(outside(tmp_path), [changed], print)


def test_a_damaged_annotation_is_refused_at_its_line(tmp_path: Path) -> None:
    text = outputs("v1.21.0", "metal-qemu-snp")[0].read_text()
    place = tmp_path / "app.yml"
    place.write_text(text.replace("cc_init_data: H4sI", "cc_init_data: H4sJ", 1))

    with pytest.raises(UsageError, match="cc_init_data: found damaged gzip") as caught:
        read_deployed(outside(tmp_path), [place], print)

    assert str(caught.value.where) == f"app.yml:{line_of(place, INITDATA)}"


def test_yaml_that_is_no_text_is_refused_at_its_line(tmp_path: Path) -> None:
    file = tmp_path / "app.yml"
    file.write_bytes(b"kind: Pod\nmetadata: \xff\n")

    with pytest.raises(KubeError) as caught:
        read_deployed(outside(tmp_path), [file], print)

    (finding,) = caught.value.findings
    assert (finding.where.file, finding.where.line) == ("app.yml", 2)
    assert "expected UTF-8" in finding.message
