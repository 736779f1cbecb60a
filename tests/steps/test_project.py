"""The runtime class that pods get."""

import json
from pathlib import Path

import pytest

from contrast_tasks.platforms import handlers_among
from contrast_tasks.settings.model import Settings
from contrast_tasks.steps.project import chosen_class, handlers_of
from tests.fakes.commands import Terminal
from tests.fakes.workloads import FakeProject

HANDLER = "contrast-cc-metal-qemu-snp-7173acb5"


OTHER = "contrast-cc-metal-qemu-snp-00000000"


@pytest.mark.parametrize(
    ("platform", "names", "expected"),
    [
        pytest.param("k3s-qemu-snp", [HANDLER], (), id="other-platform"),
        pytest.param("metal-qemu-snp", [HANDLER.upper()], (HANDLER,), id="capitals"),
        pytest.param("metal-qemu-snp", [f"{HANDLER}0"], (), id="nine-digits"),
        pytest.param("metal-qemu-snp", ["metal-qemu-snp"], (), id="platform"),
        pytest.param("metal-qemu-snp", [HANDLER, OTHER], (OTHER, HANDLER), id="two"),
    ],
)
def test_classes_of_the_platform_are_found_among_names(
    platform: str, names: list[str], expected: tuple[str, ...]
) -> None:
    assert handlers_among(names, platform) == expected


@pytest.mark.parametrize(
    ("platform", "handler", "named", "expected"),
    [
        ("local", "", (), "contrast-cc"),
        ("local", HANDLER, (HANDLER,), "contrast-cc"),
        ("metal-qemu-snp", "", (HANDLER,), HANDLER),
        ("metal-qemu-snp", HANDLER, (), HANDLER),
    ],
)
def test_the_class_is_the_settings_or_the_one_that_the_values_are_of(
    platform: str, handler: str, named: tuple[str, ...], expected: str
) -> None:
    settings = Settings(root=Path(), platform=platform, sources=(), handler=handler)

    assert chosen_class(settings, named) == expected


@pytest.mark.parametrize("content", ["", "[1]", "{", "3"])
def test_a_file_that_is_no_object_has_no_names(tmp_path: Path, content: str) -> None:
    (tmp_path / "values.json").write_text(content)
    settings = Settings(
        root=tmp_path, platform="metal-qemu-snp", sources=(), reference_values="values.json"
    )

    assert handlers_of(settings) == ()


def without_class(project: FakeProject) -> None:
    lines = project.read("contrast.toml").splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("runtime.class")]
    (project.root / "contrast.toml").write_text("".join(kept))


@pytest.mark.parametrize("command", ["lint", "generate"])
@pytest.mark.parametrize(
    ("values", "handler", "message"),
    [
        pytest.param({}, "", "nothing names it, expected one", id="nowhere"),
        pytest.param({"metal-qemu-snp": {}}, "", "nothing names it", id="platform-only"),
        pytest.param(
            {HANDLER: {}, OTHER: {}}, "", f"values.json names {OTHER}, {HANDLER}", id="several"
        ),
        pytest.param(
            {OTHER: {}}, HANDLER, f"has values for {OTHER}; expected the same", id="other"
        ),
    ],
)
def test_a_class_that_no_installer_creates_is_never_written(
    terminal: Terminal,
    project: FakeProject,
    command: str,
    values: dict[str, object],
    handler: str,
    message: str,
) -> None:
    without_class(project)
    (project.root / "values.json").write_text(json.dumps(values))
    words = [command, "--set", 'platform="metal-qemu-snp"']
    words += ["--set", 'reference_values.file="values.json"']
    words += ["--set", f'runtime.class="{handler}"'] if handler else []

    shown = terminal.run(*words)

    assert shown.code == 12
    assert "error[G070 runtime-class-unknown]" in shown.err
    assert message in shown.err
    assert 'set class = "contrast-cc-metal-qemu-snp-<8 hex digits>" under [runtime]' in shown.err
    assert not (project.root / "build/deployment").exists()


def test_a_deployment_without_confidential_pods_needs_no_class(
    terminal: Terminal, project: FakeProject
) -> None:
    without_class(project)

    words = ("--set", "defaults.runtime_class=false", "--set", "coordinator.include=false")

    shown = terminal.run("lint", *words)

    assert "runtime-class-unknown" not in shown.err


def test_another_release_in_the_file_runs_every_workload(
    terminal: Terminal, project: FakeProject
) -> None:
    without_class(project)
    entry = {"snp": [{"ProductName": "Milan", "TrustedMeasurement": "ab" * 48}]}
    words = ("generate", "--reference-values", "metal-qemu-snp", "--set")
    words += ('reference_values.file="values.json"',)
    for digits in ("00000000", "11111111"):
        name = f"contrast-cc-metal-qemu-snp-{digits}"
        (project.root / "values.json").write_text(json.dumps({name: entry}))

        terminal.run(*words)

        assert f"runtimeClassName: {name}\n" in project.read("build/deployment/shop.yml")
