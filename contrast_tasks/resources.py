"""The data files of the package, components/, schemas/ and templates/, in a wheel or in a checkout."""

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path


@cache
def root() -> Traversable:
    """Return the folder that holds `components`, `schemas` and `templates`."""
    packaged = files("contrast_tasks") / "_data"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[1]


def read_bytes(name: str) -> bytes:
    """Return one resource; name: relative, with `/`, as `schemas/lock.schema.json`."""
    return root().joinpath(*name.split("/")).read_bytes()


def read_text(name: str) -> str:
    """Return one resource as UTF-8 text."""
    return read_bytes(name).decode()


def names(folder: str) -> list[str]:
    """Return the sorted names of all files below `folder`, as `templates/inject/initializer.yml`."""
    return sorted(_names(root().joinpath(*folder.split("/")), folder))


def _names(folder: Traversable, prefix: str) -> Iterator[str]:
    for child in folder.iterdir():
        name = f"{prefix}/{child.name}"
        if child.is_dir():
            yield from _names(child, name)
        elif not child.name.startswith("."):
            yield name
