from pathlib import Path

import pytest

from contrast_tasks.errors import ImageError
from contrast_tasks.images.modules import source_files


@pytest.fixture
def root(tmp_path: Path) -> Path:
    sources = {
        "app/__init__.py": "",
        "app/main.py": "import os, app.direct\nfrom app import sibling, NAME\n",
        "app/direct.py": "def late():\n    from app.inner.deep import thing\n",
        "app/sibling.py": "from . import relative\nfrom .inner import up\n",
        "app/relative.py": "import yaml\nfrom yaml import load\n",
        "app/inner/__init__.py": "",
        "app/inner/deep.py": "thing = 1\n",
        "app/inner/up.py": "from ..beside import x\n",
        "app/beside.py": "from app.spaces import plain\nx = 1\n",
        "app/spaces/plain.py": "",
        "app/unused.py": "import app.main\n",
        "other/__init__.py": "",
    }
    for name, text in sources.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_every_module_reached_by_imports_is_found_and_no_other(root: Path) -> None:
    assert list(source_files(root, ["app.main"])) == [
        "app/__init__.py",
        "app/beside.py",
        "app/direct.py",
        "app/inner/__init__.py",
        "app/inner/deep.py",
        "app/inner/up.py",
        "app/main.py",
        "app/relative.py",
        "app/sibling.py",
        "app/spaces/plain.py",
    ]


def test_a_module_brings_the_packages_it_lies_in(root: Path) -> None:
    assert list(source_files(root, ["app.inner.deep"])) == [
        "app/__init__.py",
        "app/inner/__init__.py",
        "app/inner/deep.py",
    ]


def test_contents_are_those_of_the_files(root: Path) -> None:
    assert source_files(root, ["app.inner.deep"])["app/inner/deep.py"] == b"thing = 1\n"


def test_a_program_that_is_not_there_is_refused(root: Path) -> None:
    with pytest.raises(ImageError, match=r"found no module app\.gone, wanted app/gone\.py"):
        source_files(root, ["app.gone"])


@pytest.mark.parametrize(
    "line", ["import app.gone", "from app.gone import x", "from .gone import x"]
)
def test_an_import_of_ours_that_leads_nowhere_is_refused(root: Path, line: str) -> None:
    (root / "app/main.py").write_text(line)

    with pytest.raises(ImageError, match=r"module app\.gone is imported but does not exist"):
        source_files(root, ["app.main"])


def test_what_is_not_python_is_refused_by_name(root: Path) -> None:
    (root / "app/direct.py").write_text("def (:")

    with pytest.raises(ImageError, match=r"app/direct\.py is not Python"):
        source_files(root, ["app.main"])


def test_packages_of_others_below_the_same_root_are_left_out(root: Path) -> None:
    (root / "yaml").mkdir()
    (root / "yaml/__init__.py").write_text("from yaml.compiled import load\n")

    found = source_files(root, ["app.relative"], packages=["app"])

    assert list(found) == ["app/__init__.py", "app/relative.py"]
