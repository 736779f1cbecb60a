"""A project of a user's own on platform `local`: our images need neither a registry nor a task of its dodo.py."""

from pathlib import Path

import pytest

from contrast_tasks.images.layout import Layout
from contrast_tasks.images.lock import parse_lock
from contrast_tasks.settings.components import ComponentSettings
from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.workspace import open_project
from tests.fakes.commands import Terminal, quiet_environment
from tests.fakes.images import MadeImage, file, make_image, tar, write_images
from tests.fakes.workloads import IMAGE, deployment

SETTINGS = """\
platform = "local"
sources = ["deployment"]

[defaults]
memory = "64Mi"

[images]
layouts = ["images"]
"""
COMPONENTS = ComponentSettings()
OURS = [COMPONENTS.coordinator, COMPONENTS.initializer, COMPONENTS.service_mesh]


@pytest.fixture
def terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Terminal:
    quiet_environment(monkeypatch, tmp_path / "cache")
    root = tmp_path / "shop"
    (root / "deployment").mkdir(parents=True)
    (root / "deployment/till.yml").write_text(deployment("till"))
    (root / "contrast.toml").write_text(SETTINGS)
    write_images(root / "images", {IMAGE: image()})
    return Terminal(root, capsys, monkeypatch)


def image(name: str = "app") -> MadeImage:
    layer = tar(file(name, b"#!/bin/sh\n", mode=0o755))
    return make_image([layer], process={"Entrypoint": [f"/{name}"]})


def packed(terminal: Terminal) -> list[str]:
    return list(Layout(terminal.root / "build/images").references)


def locked(terminal: Terminal) -> list[str]:
    return sorted(
        parse_lock((terminal.root / "contrast.lock").read_bytes(), "contrast.lock").images
    )


def test_one_command_generates_a_project_of_ones_own(terminal: Terminal) -> None:
    first = terminal.run("generate")
    second = terminal.run("generate")

    assert (first.code, second.code) == (0, 0), first.err
    assert "wrote build/images/index.json\n" in first.err
    assert locked(terminal) == sorted([*OURS, IMAGE])
    assert packed(terminal) == OURS
    assert second.err.startswith("up to date (2 workloads")


def test_a_source_that_cannot_be_read_takes_no_image_away(terminal: Terminal) -> None:
    terminal.run("generate")
    before = (terminal.root / "build/images/index.json").read_bytes()
    (terminal.root / "deployment/till.yml").write_text("kind: Deployment\n\tmetadata: {}\n")

    shown = terminal.run("generate")

    assert shown.code == 12
    assert "nothing was written" in shown.err
    assert (terminal.root / "build/images/index.json").read_bytes() == before


def test_a_component_out_of_use_stays_in_the_layout(terminal: Terminal) -> None:
    terminal.run("generate")

    shown = terminal.run("generate", "--skip-service-mesh")

    assert shown.code == 0, shown.err
    assert packed(terminal) == OURS


def test_a_component_with_a_name_of_its_own_is_not_ours_to_make(terminal: Terminal) -> None:
    overrides = ('components.service_mesh="shop/mesh:v2"',)
    spec = Spec(root=str(terminal.root), overrides=overrides)

    assert open_project(spec).own_components == (OURS[0], OURS[1])


def test_planning_leaves_the_layout_alone(terminal: Terminal) -> None:
    shown = terminal.run("plan")

    assert shown.code == 0, shown.err
    assert "added Deployment/till\n" in shown.out
    assert not (terminal.root / "build").exists()


def test_a_hardware_platform_says_which_setting_names_our_images(terminal: Terminal) -> None:
    shown = terminal.run("generate", "--reference-values", "aks-clh-snp")

    assert shown.code == 12
    assert [line for line in shown.err.splitlines() if "image-not-locked" in line] == [
        (
            f"contrast.toml: error[G010 image-not-locked]: components.{name} is {reference} by default,"
            " found no entry for it in contrast.lock"
        )
        for name, reference in zip(("coordinator", "initializer"), OURS[:2], strict=True)
    ]
    assert "images build --registry HOST/PATH' pushes our images and names them in" in shown.err
