"""The wheel holds every schema and template, finds them from anywhere, and makes what the checkout makes."""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from contrast_tasks import __version__

# One worker builds the wheel.
pytestmark = pytest.mark.xdist_group("wheel")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_the_source_archive_can_be_installed_tested_and_run(tmp_path: Path) -> None:
    build(tmp_path, "sdist")
    (archive,) = tmp_path.glob("*.tar.gz")

    with tarfile.open(archive) as members:
        names = {name.partition("/")[2] for name in members.getnames()}

    assert {
        *("LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "pyproject.toml", "dodo.py"),
        *("doitw", ".ci/run", "contrast.toml", "requirements.in", "requirements.lock"),
        *("requirements-dev.in", "requirements-dev.lock"),
        *("schemas/manifest.schema.json", "templates/policy/rules.rego", "tests/conftest.py"),
        *("CONTRIBUTING.md", ".editorconfig", "dev/checks.py", "dev/demo/run.py"),
        *("docs/tutorial.md", "examples/emojivoto/images.toml", "coordinator/__main__.py"),
    } <= names


def build(folder: Path, kind: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build(folder, "wheel")
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.mark.e2e
def test_type_checkers_read_the_packages_of_the_wheel(unpacked: Path) -> None:
    assert (unpacked / "contrast_tasks" / "py.typed").is_file()
    assert (unpacked / "coordinator" / "py.typed").is_file()


def resources_of(site: Path, cwd: Path) -> list[str]:
    code = (
        "from contrast_tasks import resources;"
        "folders = ('components', 'schemas', 'templates');"
        "print('\\n'.join(name for folder in folders for name in resources.names(folder)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.split()


def test_every_resource_of_the_checkout_is_in_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    in_checkout = resources_of(ROOT, tmp_path)

    assert resources_of(unpacked, tmp_path) == in_checkout
    assert "schemas/manifest.schema.json" in in_checkout
    assert "templates/policy/rules.rego" in in_checkout
    assert "components/packages.lock" in in_checkout


def test_the_wheel_holds_no_tests_and_no_example(unpacked: Path) -> None:
    packages = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}

    assert packages == {"contrast_tasks", "coordinator", f"contrast_tasks-{__version__}.data"}


def test_completions_and_man_page_go_where_shells_and_man_look(unpacked: Path) -> None:
    """Below the prefix of the installation. Source: binary distribution format of Python packages, the folder `.data/data`."""
    data = unpacked / f"contrast_tasks-{__version__}.data" / "data"
    files = {path.relative_to(data).as_posix() for path in data.rglob("*") if path.is_file()}

    assert files == {
        "share/bash-completion/completions/contrast-tasks",
        "share/fish/vendor_completions.d/contrast-tasks.fish",
        "share/man/man1/contrast-tasks.1",
        "share/zsh/site-functions/_contrast-tasks",
    }


def component_images(site: Path, project: Path) -> dict[str, str]:
    """Return the digests of our own images, packed by an installation in `site`."""
    code = (
        "import json; from pathlib import Path; from contrast_tasks.settings.load import load_settings;"
        "from contrast_tasks.images.packing import pack;"
        "print(json.dumps(pack(load_settings(Path.cwd(), environ={}))['images']))"
    )
    project.mkdir()
    (project / "contrast.toml").write_text('platform = "local"\nsources = ["deployment"]\n')
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=project,
        env={"PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


@pytest.mark.sweep
def test_our_images_from_an_installation_are_those_of_the_checkout(
    unpacked: Path, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    shutil.copytree(unpacked, site)
    foreign = site / "grpc" / "__init__.py"
    foreign.parent.mkdir()
    foreign.write_text("from grpc._compiled import anything\n")

    from_checkout = component_images(ROOT, tmp_path / "one")

    assert component_images(site, tmp_path / "two") == from_checkout
    assert len(from_checkout) == 3


def own_layers(site: Path, cwd: Path) -> dict[str, str]:
    """Return the SHA-256 of what whole images of an installation in `site` have besides packages, by image."""
    code = (
        "import hashlib, json;"
        "from contrast_tasks.images.own_files import own_entries;"
        "from contrast_tasks.images.pack import render_layer;"
        "from contrast_tasks.images.whole import component_plans;"
        "print(json.dumps({plan.recipe.name: hashlib.sha256(render_layer("
        "own_entries(plan.recipe, plan.folder, plan.packages))).hexdigest() for plan in component_plans()}))"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=cwd,
        env={"PYTHONPATH": str(site)},
        check=True,
        capture_output=True,
        text=True,
    )
    digests: dict[str, str] = json.loads(done.stdout)
    return digests


@pytest.mark.sweep
def test_whole_images_from_an_installation_have_the_files_of_the_checkout(
    unpacked: Path, tmp_path: Path
) -> None:
    from_checkout = own_layers(ROOT, tmp_path)

    assert own_layers(unpacked, tmp_path) == from_checkout
    assert len(from_checkout) == 4
