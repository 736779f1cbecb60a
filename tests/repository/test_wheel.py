"""The wheel holds every schema and template, finds them from anywhere, and makes what the checkout makes."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from uv import find_uv_bin

from contrast_tasks import __version__
from tests.fakes.workloads import make_project

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
        *(
            ".pre-commit-hooks.yaml",
            "action.yml",
            "templates/ci/gitlab.yml",
            "share/man/man1/contrast-tasks.1",
        ),
    } <= names


@pytest.mark.e2e
def test_the_source_archive_makes_the_wheel_of_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    """An installer makes a wheel of what the archive holds, away from git."""
    build(tmp_path, "sdist")
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as members:
        members.extractall(tmp_path, filter="data")
    (root,) = (path for path in tmp_path.iterdir() if path.is_dir())

    build(tmp_path, "wheel", root)

    (wheel,) = tmp_path.glob("*.whl")
    (other,) = unpacked.parent.glob("*.whl")
    assert wheel.read_bytes() == other.read_bytes()


@pytest.mark.e2e
def test_the_wheel_works_with_the_oldest_packages_that_it_takes(
    unpacked: Path, tmp_path: Path
) -> None:
    """One policy engine is enough; the extra has no second one."""
    (wheel,) = unpacked.parent.glob("*.whl")
    uv, venv, oldest = find_uv_bin(), tmp_path / "venv", tmp_path / "oldest.txt"
    python = venv / "bin/python"
    project = make_project(tmp_path / "project")
    resolve = ["--resolution", "lowest-direct", "--extra", "simulate", "--output-file", oldest]

    run_quietly(uv, "venv", "--python", sys.executable, venv)
    run_quietly(
        *(uv, "pip", "compile", "pyproject.toml", *resolve, "--python", python), "--no-build"
    )
    run_quietly(uv, "pip", "install", "--python", python, "--no-build", "-r", oldest)
    run_quietly(uv, "pip", "install", "--python", python, "--no-deps", wheel)

    pinned = dict(line.split("==") for line in oldest.read_text().split() if "==" in line)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    floors = dict(line.split(">=") for line in declared if ";" not in line and "," not in line)
    assert [name for name, floor in floors.items() if not pinned[name].startswith(floor)] == []
    for line in ("lint", "generate", "simulate", "plan"):
        run_quietly(python, "-m", "contrast_tasks", line, cwd=project.root)
    assert (project.root / "manifest.json").is_file()


def run_quietly(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run a program with the environment of this process, without what names its packages or settings."""
    others = ("CONTRAST_", "PYTHONPATH", "VIRTUAL_ENV")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    done = subprocess.run(
        words, cwd=cwd, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def build(folder: Path, kind: str, root: Path = ROOT) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)],
        cwd=root,
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


@pytest.mark.e2e
def test_an_index_accepts_the_metadata_and_installers_find_both_commands(unpacked: Path) -> None:
    """By the rules of Python's packaging, which `packaging` checks. There is no address of this project to name."""
    (info,) = unpacked.glob("*.dist-info")

    found = Metadata.from_email((info / "METADATA").read_bytes(), validate=True)

    assert (found.name, str(found.version)) == ("contrast-tasks", __version__)
    assert (found.license_expression, found.license_files) == ("Apache-2.0", ["LICENSE"])
    assert found.provides_extra == ["measure", "mesh", "simulate", "ui"]
    assert found.description == (ROOT / "README.md").read_text()
    commands = "contrast-coordinator = coordinator.__main__:main\ncontrast-tasks = contrast_tasks.cli.main:main"
    assert commands in (info / "entry_points.txt").read_text()


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
        "from contrast_tasks.images.whole import component_plans, tool_plan;"
        "print(json.dumps({plan.recipe.name: hashlib.sha256(render_layer("
        "own_entries(plan.recipe, plan.folder, plan.packages))).hexdigest() for plan in (*component_plans(), tool_plan())}))"
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
    assert len(from_checkout) == 5
