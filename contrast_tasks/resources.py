"""The data files that ship with the package: schemas/ and templates/, from a wheel or from a checkout."""

from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


@cache
def root() -> Traversable:
    """Return the folder that holds `schemas` and `templates`."""
    packaged = files("contrast_tasks") / "_data"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[1]


def read_bytes(name: str) -> bytes:
    """Return one resource; `name` is relative with `/`, as `schemas/lock.schema.json`."""
    return root().joinpath(*name.split("/")).read_bytes()


def read_text(name: str) -> str:
    """Return one resource as UTF-8 text."""
    return read_bytes(name).decode()


def names(folder: str) -> list[str]:
    """Return the sorted names of all files below `folder`, as `templates/inject/initializer.yml`."""
    found: list[str] = []

    def visit(place: Traversable, prefix: str) -> None:
        for child in place.iterdir():
            name = f"{prefix}/{child.name}"
            if child.is_dir():
                visit(child, name)
            elif not child.name.startswith("."):
                found.append(name)

    visit(root().joinpath(*folder.split("/")), folder)
    return sorted(found)
