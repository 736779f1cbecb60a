"""The wheel holds every schema and template, and finds them from anywhere."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    site = folder / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def resources_of(site: Path, cwd: Path) -> list[str]:
    code = (
        "from contrast_tasks import resources;"
        "print('\\n'.join(resources.names('schemas') + resources.names('templates')))"
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


def test_the_wheel_holds_no_tests_and_no_example(unpacked: Path) -> None:
    packages = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}

    assert packages == {"contrast_tasks", "coordinator"}
