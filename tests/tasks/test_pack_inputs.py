"""What makes the images be packed again, and what does not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from contrast_tasks.steps.project import Spec
from contrast_tasks.tasks.footprint import footprint
from contrast_tasks.tasks.workspace import Workspace, open_workspace
from tests.fakes.workloads import FakeProject

RECIPE = """
[images."shop/till:v1"]
executables = { "usr/bin/till" = "bin/till" }
files = { "app/page" = "page" }
modules = { "app" = ["till"] }
"""


@pytest.fixture
def opened(project: FakeProject) -> Workspace:
    """Return a project whose images.toml lies at its root, beside everything that generate writes."""
    for name in ("bin/till", "page/index.html", "app/till.py"):
        (project.root / name).parent.mkdir(exist_ok=True)
        (project.root / name).write_text(name)
    (project.root / "images.toml").write_text(RECIPE)
    return open_workspace(Spec(root=str(project.root)), is_fresh=True)


def _file(name: str, content: str = "other") -> Callable[[Path], None]:
    def write(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)

    return write


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_file("bin/till"), id="executable"),
        pytest.param(_file("page/index.html"), id="file"),
        pytest.param(_file("page/more/new.css"), id="new-file"),
        pytest.param(_file("app/till.py"), id="module"),
        pytest.param(_file("images.toml", f"{RECIPE}\nuser = '1'\n"), id="recipe"),
        pytest.param(_file("images.toml", "images = 3"), id="no-recipe"),
        pytest.param(_file("images.toml", "= ["), id="no-toml"),
        pytest.param(lambda root: shutil.rmtree(root / "page"), id="removed"),
    ],
)
def test_images_are_packed_again_when_what_they_are_made_of_changes(
    opened: Workspace, change: Callable[[Path], None]
) -> None:
    before = opened.inputs.pack().digest

    change(opened.project.root)

    assert opened.inputs.pack().digest != before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(_file(".contrast/doit.db"), id="state"),
        pytest.param(_file("build/check.json"), id="output"),
        pytest.param(_file("manifest.json"), id="manifest"),
        pytest.param(_file("deployment/more.yml"), id="source"),
        pytest.param(_file("app/__pycache__/till.pyc"), id="cache"),
    ],
)
def test_what_no_image_is_made_of_packs_nothing(
    opened: Workspace, change: Callable[[Path], None]
) -> None:
    before = opened.inputs.pack().digest

    change(opened.project.root)

    assert opened.inputs.pack().digest == before


def test_what_images_are_made_of_is_looked_at_before_a_run_is_skipped(opened: Workspace) -> None:
    found = footprint(opened)

    assert {"images.toml", "bin/till", "page", "page/index.html", "app/till.py"} <= found
    assert ".contrast" not in found
