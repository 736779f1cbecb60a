"""The runtime class that pods get."""

import json
from pathlib import Path

import pytest

from contrast_tasks.platforms import runtime_class
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import runtime_class_of
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

HANDLER = "contrast-cc-metal-qemu-snp-7173acb5"


@pytest.mark.parametrize(
    ("platform", "names", "expected"),
    [
        pytest.param("local", [HANDLER], "contrast-cc", id="local"),
        pytest.param("k3s-qemu-snp", [], "contrast-cc-k3s-qemu-snp", id="no-values"),
        pytest.param("metal-qemu-snp", [HANDLER], HANDLER, id="release"),
        pytest.param("metal-qemu-snp", [HANDLER.upper()], HANDLER, id="capitals"),
        pytest.param("k3s-qemu-snp", [HANDLER], "contrast-cc-k3s-qemu-snp", id="other-platform"),
        pytest.param(
            "metal-qemu-snp", [f"{HANDLER}0"], "contrast-cc-metal-qemu-snp", id="nine-digits"
        ),
        pytest.param(
            "metal-qemu-snp", ["metal-qemu-snp"], "contrast-cc-metal-qemu-snp", id="platform"
        ),
        pytest.param(
            "metal-qemu-snp",
            [HANDLER, "contrast-cc-metal-qemu-snp-00000000"],
            "contrast-cc-metal-qemu-snp",
            id="two-releases",
        ),
    ],
)
def test_the_class_is_that_of_the_release_the_values_are_of(
    platform: str, names: list[str], expected: str
) -> None:
    assert runtime_class(platform, names) == expected


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_file_that_is_no_object_has_no_names(tmp_path: Path, content: str) -> None:
    (tmp_path / "values.json").write_text(content)
    settings = Settings(
        root=tmp_path, platform="metal-qemu-snp", sources=(), reference_values="values.json"
    )

    assert runtime_class_of(settings) == "contrast-cc-metal-qemu-snp"


def test_another_release_in_the_file_runs_every_workload(
    terminal: Terminal, project: FakeProject
) -> None:
    entry = {"snp": [{"ProductName": "Milan", "TrustedMeasurement": "ab" * 48}]}
    words = ("generate", "--reference-values", "metal-qemu-snp", "--set")
    words += ('reference_values.file="values.json"',)
    for digits in ("00000000", "11111111"):
        name = f"contrast-cc-metal-qemu-snp-{digits}"
        (project.root / "values.json").write_text(json.dumps({name: entry}))

        terminal.run(*words)

        assert f"runtimeClassName: {name}\n" in project.read("build/deployment/shop.yml")
