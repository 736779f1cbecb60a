"""ID blocks in the output of `generate`, against those that the releases wrote (docs/internals/releases.md 3)."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.fakes.commands import Terminal
from tests.fakes.testdata import RELEASES
from tests.fakes.workloads import FakeProject, deployment

PREFIX = "io.katacontainers.config.hypervisor.snp_"
LIMIT = "          resources: {limits: {cpu: 1500m}}\n"
MEASURED = ("ProductName", "TrustedMeasurement", "APEIP", "CPUs")

pytestmark = pytest.mark.skipif(not RELEASES.exists(), reason="the releases' files are not at hand")


def entries(release: str, platform: str = "metal-qemu-snp") -> list[dict[str, Any]]:
    """Return what the release's manifest says of measurements."""
    document = json.loads((RELEASES / release / f"{platform}.json").read_text())
    return [
        {name: entry[name] for name in MEASURED if name in entry}
        for entry in document["ReferenceValues"]["snp"]
    ]


def written_by(release: str, name: str) -> dict[str, str]:
    """Return the annotations of the ID block that the release wrote into a pod."""
    text = (RELEASES / release / "metal-qemu-snp.app.out.yml").read_text()
    (found,) = (
        obj
        for obj in yaml.safe_load_all(text)
        if obj["metadata"]["name"] == name and obj["kind"] != "Service"
    )
    return blocks(found["spec"]["template"])


def blocks(template: Mapping[str, Any]) -> dict[str, str]:
    annotations = template["metadata"].get("annotations", {})
    return {key: value for key, value in annotations.items() if key.startswith(PREFIX)}


def prepare(
    project: FakeProject,
    release: str,
    values: list[dict[str, Any]],
    *,
    platform: str = "metal-qemu-snp",
) -> None:
    """Write settings for a release and a file of reference values, and a workload with a limit of 1.5 CPUs."""
    kind = "tdx" if "tdx" in platform else "snp"
    (project.root / "values.json").write_text(json.dumps({kind: values}))
    project.settings(**{"platform": f'"{platform}"', "runtime.release": f'"{release}"'})
    text = project.read("contrast.toml").partition("[reference_values.")[0]
    text = text.replace(
        'reference_values.products = ["Milan"]', 'reference_values.file = "values.json"'
    )
    (project.root / "contrast.toml").write_text(text)
    project.write("cpu.yml", deployment("cpu", extra=LIMIT))


def templates(project: FakeProject, name: str) -> list[dict[str, Any]]:
    documents = yaml.safe_load_all(project.read(f"build/deployment/{name}"))
    return [
        obj["spec"]["template"] for obj in documents if "template" in (obj or {}).get("spec", {})
    ]


@pytest.mark.first(1)
@pytest.mark.parametrize("release", ["v1.20.0", "v1.21.0"])
def test_every_pod_has_the_blocks_for_its_number_of_processors(
    terminal: Terminal, project: FakeProject, release: str
) -> None:
    prepare(project, release, entries(release))

    terminal.run("generate")

    assert blocks(templates(project, "cpu.yml")[0]) == written_by(release, "cpu")
    for name in ("shop.yml", "till/till.yaml", "coordinator.yml"):
        for template in templates(project, name):
            assert blocks(template) == written_by(release, "plain")


def test_another_measurement_changes_the_yaml_and_no_policy(
    terminal: Terminal, project: FakeProject
) -> None:
    values = entries("v1.21.0")
    prepare(project, "v1.21.0", values)
    terminal.run("generate")
    before = {name: content for name, content in project.outputs().items() if "policies" in name}
    swapped = [
        {**entry, "TrustedMeasurement": other["TrustedMeasurement"]}
        for entry, other in zip(values, reversed(values), strict=True)
    ]
    (project.root / "values.json").write_text(json.dumps({"snp": swapped}))

    shown = terminal.run("generate")

    after = {name: content for name, content in project.outputs().items() if "policies" in name}
    assert after == before
    assert blocks(templates(project, "shop.yml")[0]) != written_by("v1.21.0", "plain")
    assert "build/deployment/shop.yml" in shown.out + shown.err


def test_an_unchanged_run_does_nothing(terminal: Terminal, project: FakeProject) -> None:
    prepare(project, "v1.21.0", entries("v1.21.0"))
    terminal.run("generate")

    assert "up to date" in terminal.run("generate").err


def test_what_an_earlier_run_left_in_the_source_is_replaced(
    terminal: Terminal, project: FakeProject
) -> None:
    prepare(
        project,
        "v1.20.0",
        [entry for entry in entries("v1.20.0") if entry["ProductName"] == "Milan"],
    )
    stale = "".join(
        f'        {key}: "{value}"\n' for key, value in written_by("v1.20.0", "plain").items()
    )
    text = deployment("cpu", extra=LIMIT).replace(
        "  template:\n    metadata:\n",
        f"  template:\n    metadata:\n      annotations:\n        kept: x\n{stale}",
    )
    project.write("cpu.yml", text)

    terminal.run("generate")

    wanted = {key: value for key, value in written_by("v1.20.0", "cpu").items() if "Milan" in key}
    assert blocks(templates(project, "cpu.yml")[0]) == wanted
    assert templates(project, "cpu.yml")[0]["metadata"]["annotations"]["kept"] == "x"


@pytest.mark.parametrize(
    ("release", "platform"), [("v1.16.0", "metal-qemu-snp"), ("v1.21.0", "metal-qemu-tdx")]
)
def test_others_have_none_and_lose_those_of_the_source(
    terminal: Terminal, project: FakeProject, release: str, platform: str
) -> None:
    values = [{"ProductName": "Milan", "TrustedMeasurement": "ab" * 48}]
    prepare(project, release, values if "snp" in platform else [{}], platform=platform)
    text = deployment("cpu").replace(
        "  template:\n    metadata:\n",
        f"  template:\n    metadata:\n      annotations:\n        {PREFIX}id_block_Milan: AAAA\n",
    )
    project.write("cpu.yml", text)

    terminal.run("generate")

    assert blocks(templates(project, "cpu.yml")[0]) == {}
    assert blocks(templates(project, "coordinator.yml")[0]) == {}


@pytest.mark.parametrize("command", ["generate", "lint"])
@pytest.mark.parametrize(
    ("release", "dropped", "option"),
    [
        pytest.param("v1.20.0", "CPUs", "--vcpus 1 --vcpus 3", id="no entry for three"),
        pytest.param("v1.21.0", "APEIP", "--any-vcpus", id="no start address"),
    ],
)
def test_a_number_without_a_reference_value_is_an_error(
    terminal: Terminal, project: FakeProject, command: str, release: str, dropped: str, option: str
) -> None:
    first = {entry["ProductName"]: entry for entry in reversed(entries(release))}
    values = [
        {name: value for name, value in entry.items() if name != dropped}
        for entry in first.values()
    ]
    prepare(project, release, values)

    shown = terminal.run(command)

    assert shown.code == 12
    assert (
        "deployment/cpu.yml:1: error[G033 cpu-reference]: the guest of Deployment/cpu has 3 virtual CPUs, and the"
        " reference values of metal-qemu-snp hold for 1 only" in shown.err
    )
    assert f"measure {option}'" in shown.err
    assert not (project.root / "build/deployment").exists()


def test_a_missing_measurement_is_missing_and_no_other_error(
    terminal: Terminal, project: FakeProject
) -> None:
    values = [{"ProductName": "Milan", "TrustedMeasurement": "", "APEIP": "0080b004"}]
    prepare(project, "v1.21.0", values)

    shown = terminal.run("generate")

    assert shown.code == 13
    assert "TrustedMeasurement" in shown.err
    assert blocks(templates(project, "cpu.yml")[0]) == {}


@pytest.mark.parametrize("command", ["plan", "deploy"])
def test_pods_without_a_block_are_not_deployed(
    terminal: Terminal, project: FakeProject, command: str
) -> None:
    values = [{"ProductName": "Milan", "TrustedMeasurement": "", "APEIP": "0080b004"}]
    prepare(project, "v1.21.0", values)
    terminal.run("generate")

    shown = terminal.run(command)

    assert shown.code == 2
    assert "has no annotations with an ID block" in shown.err


def test_too_many_processors_are_an_error_at_the_limit(
    terminal: Terminal, project: FakeProject
) -> None:
    prepare(project, "v1.20.0", entries("v1.20.0"))
    project.write("cpu.yml", deployment("cpu", extra=LIMIT.replace("1500m", "7001m")))

    shown = terminal.run("lint")

    assert shown.code == 12
    assert "deployment/cpu.yml:18: error[G033 cpu-count]" in shown.err
    assert "expected at most 8 with the runtime of v1.20.0" in shown.err
