"""Every function that the documents name by module is there."""

import importlib
import re
from functools import reduce
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("CONTRIBUTING.md", "docs/explanation/code-map.md")
_NAMED = re.compile(r"`((?:contrast_tasks|coordinator|dev)(?:\.\w+)*):(\w+(?:\.\w+)*)`")
_PATH = re.compile(r"`((?:contrast_tasks|coordinator|dev|docs|tests|schemas|templates)/[\w./-]*)`")


def named() -> list[tuple[str, str]]:
    return sorted({each for page in PAGES for each in _NAMED.findall((ROOT / page).read_text())})


@pytest.mark.parametrize(("module", "name"), named(), ids=lambda text: text)
def test_a_named_function_exists(module: str, name: str) -> None:
    assert reduce(getattr, name.split("."), importlib.import_module(module)) is not None


@pytest.mark.parametrize("page", PAGES)
def test_a_named_file_or_folder_exists(page: str) -> None:
    paths = _PATH.findall((ROOT / page).read_text())

    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_package_has_its_line_in_the_code_map() -> None:
    text = (ROOT / "docs/explanation/code-map.md").read_text()
    packages = {path.parent.name for path in (ROOT / "contrast_tasks").glob("*/__init__.py")}

    assert [name for name in sorted(packages) if f"`contrast_tasks/{name}/`" not in text] == []
