"""`images build`, with made-up images in place of our components."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrast_tasks.cli.main import main
from contrast_tasks.images import build
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.layout import Layout
from contrast_tasks.images.recipe import ImageRecipe
from contrast_tasks.images.whole import Plan
from contrast_tasks.pods.references import parse_reference
from contrast_tasks.settings.load import load_settings
from tests.fakes.commands import quiet_environment
from tests.fakes.registry import FakeRegistry

SETTINGS = '# mine\nplatform = "metal-qemu-snp"\nsources = ["shop/deployment"]\n'
RECIPE = '[images."shop/cart:v1"]\nentrypoint = ["/cart"]\nexecutables = { "cart" = "cart" }\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with an image of its own; components are small, and have no packages."""
    quiet_environment(monkeypatch, tmp_path / "cache")
    (tmp_path / "shop/deployment").mkdir(parents=True)
    (tmp_path / "shop/cart").write_text("#!/bin/sh\n")
    (tmp_path / "shop/images.toml").write_text(RECIPE)
    (tmp_path / "contrast.toml").write_text(SETTINGS)
    plans = tuple(
        Plan(
            ImageRecipe(reference=f"contrast-tasks/{name}:0.0.1", config=ImageConfig()),
            tmp_path,
            (),
            None,
        )
        for name in ("initializer", "service-mesh", "coordinator")
    )
    monkeypatch.setattr(build, "component_plans", lambda: plans)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONTRAST_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def test_without_a_registry_a_layout_and_bills_of_materials_are_written(project: Path) -> None:
    assert main(["images", "build"]) == 0

    assert Layout(project / "build/whole").references == (
        "contrast-tasks/coordinator:0.1.0",
        "contrast-tasks/initializer:0.1.0",
        "contrast-tasks/service-mesh:0.1.0",
        "shop/cart:v1",
    )
    assert sorted(path.name for path in (project / "build/sbom").iterdir()) == [
        "coordinator.spdx.json",
        "initializer.spdx.json",
        "service-mesh.spdx.json",
        "shop-cart.spdx.json",
    ]
    assert (project / "contrast.toml").read_text() == SETTINGS


def test_with_a_registry_components_are_named_in_the_settings_and_images_on_stdout(
    project: Path, registry: FakeRegistry, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["images", "build", "--registry", f"{registry.host}/team/"]) == 0

    text = (project / "contrast.toml").read_text()
    assert text.startswith(f"{SETTINGS}\n[components]\ninitializer = ")
    for line in text.splitlines()[-3:]:
        reference = parse_reference(line.partition('"')[2].rstrip('"'))
        assert registry.manifest(reference.repository, "0.1.0") is not None
        assert reference.tag == "0.1.0"
        assert reference.digest is not None
    said = capsys.readouterr().out
    # As [images] replacements wants it.
    assert said.startswith(f"shop/cart:v1 = {registry.host}/team/shop/cart:v1@sha256:")
    assert not (project / "build/whole").exists()


def test_settings_may_be_kept_and_single_images_named(
    project: Path, registry: FakeRegistry
) -> None:
    words = ["images", "build", "--only", "coordinator", "--registry", registry.host]
    words.append("--keep-settings")

    assert main(words) == 0

    assert (project / "contrast.toml").read_text() == SETTINGS
    assert registry.manifest("initializer", "0.1.0") is None
    assert registry.manifest("coordinator", "0.1.0") is not None


def test_the_report_has_every_image_with_its_digest(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--output", "json", "images", "build", "--only", "coordinator"]) == 0

    (image,) = json.loads(capsys.readouterr().out)["result"]["images"]
    layout = Layout(project / "build/whole")
    assert image["digest"] == layout.entries[0].digest
    assert (image["name"], image["original"]) == ("coordinator", "contrast-tasks/coordinator:0.0.1")


def test_the_command_lines_own_image_is_made_when_it_is_named_only(project: Path) -> None:
    settings = load_settings(project, environ={})

    def names(*wanted: str) -> list[str]:
        return [each.name for each in build.wanted_images(settings, wanted, registry="r.example")]

    assert "tool" not in names()
    assert names("tool", "coordinator") == ["tool", "coordinator"]


def test_an_unknown_image_is_refused_with_the_known_ones(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["images", "build", "--only", "proxy"]) == 2

    assert (
        "images are coordinator, initializer, service-mesh, shop/cart, tool"
        in capsys.readouterr().err
    )


def test_outside_of_a_project_components_are_made(project: Path, registry: FakeRegistry) -> None:
    (project / "contrast.toml").unlink()

    assert main(["images", "build", "--registry", registry.host]) == 0

    assert registry.manifest("service-mesh", "0.1.0") is not None


def test_a_wrong_registry_is_refused_before_anything_is_made(project: Path) -> None:
    assert main(["images", "build", "--registry", "Team/Upper"]) != 0

    assert not (project / "build").exists()


def test_layers_for_aks_are_in_gzip(project: Path) -> None:
    (project / "contrast.toml").write_text(SETTINGS.replace("metal-qemu-snp", "aks-clh-snp"))

    assert main(["images", "build"]) == 0

    image = Layout(project / "build/whole").image(parse_reference("shop/cart:v1"))
    blobs = project / "build/whole/blobs/sha256"
    for layer in image.layers:
        assert layer.media_type.endswith("+gzip")
        assert (blobs / layer.digest.removeprefix("sha256:")).read_bytes()[:2] == b"\x1f\x8b"


def test_a_registry_without_a_name_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["images", "build", "--registry", ""]) == 2

    shown = capsys.readouterr()
    assert "--registry is '', wanted a host and a path" in shown.err
    assert not (project / "build").exists()
