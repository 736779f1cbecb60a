"""The rules of the house that a machine can check: sizes, names, broad handlers, and paths of machines."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

# One worker reads all modules.
pytestmark = pytest.mark.xdist_group("house")

ROOT = Path(__file__).resolve().parents[2]
_PRODUCT = ("contrast_tasks", "coordinator", "dev")
_MOST_LINES = 400

# Where a decoder with located errors is not used, and why.
_BROAD_HANDLERS = {
    "contrast_tasks/attestation/snp/measure.py": "the library raises these for firmware that it does not understand",
    "contrast_tasks/cli/snapshot.py": "a run without anything to do imports nothing; a snapshot that it cannot read is none",
    "contrast_tasks/tasks/inputs.py": "the same; whatever is wrong with a file is told by the task that reads it",
}
# Classes that the module of the same name makes, and that stand with the records around them.
_MADE_BY_THEIR_MODULE = {
    "contrast_tasks/attestation/endorsements/supply.py: Network",
    "contrast_tasks/policy/expectations.py: Environment",
    "contrast_tasks/policy/expectations.py: Process",
}
_BROAD = {"KeyError", "TypeError", "AttributeError", "IndexError", "RecursionError"}
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)
# Folders of a person on a machine; `user` is the documentation's example.
_HOME = re.compile(rb"(?<![\w.])/(?:home|Users)/(?!user\b)\w+/")


@cache
def tracked() -> tuple[str, ...]:
    """Return the paths of all files in git."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    return tuple(name for name in listed.splitlines() if (ROOT / name).is_file())


@cache
def modules() -> dict[str, str]:
    """Return the text of each module of the product that people wrote."""
    return {
        name: (ROOT / name).read_text()
        for name in tracked()
        if name.endswith(".py") and name.split("/")[0] in _PRODUCT and "_pb2" not in name
    }


def packages() -> dict[str, dict[str, str]]:
    """Return the modules of each package: name -> path."""
    found: dict[str, dict[str, str]] = {}
    for name in modules():
        folder, _, file = name.rpartition("/")
        found.setdefault(folder, {})[file.removesuffix(".py")] = name
    return found


def test_no_module_is_too_long_to_read_in_one_sitting() -> None:
    lines = {name: len(text.splitlines()) for name, text in modules().items()}

    assert {name: count for name, count in lines.items() if count > _MOST_LINES} == {}


def test_no_module_has_the_name_of_its_package() -> None:
    assert [folder for folder, own in packages().items() if folder.split("/")[-1] in own] == []


def test_no_module_shares_its_name_with_a_package_beside_it() -> None:
    folders = set(packages())

    assert [
        f"{folder}/{name}"
        for folder, own in packages().items()
        for name in own
        if f"{folder}/{name}" in folders
    ] == []


def test_a_class_that_is_named_like_a_module_of_its_package_is_defined_or_made_there() -> None:
    elsewhere = {
        f"{own[name]}: {found}"
        for own in packages().values()
        for name in own
        for found in _CLASS.findall(modules()[own[name]])
        if found.lower() != name and found.lower() in own
    }

    assert elsewhere == _MADE_BY_THEIR_MODULE


def test_no_handler_catches_whatever_a_wrong_document_may_raise() -> None:
    broad = {
        name
        for name, text in modules().items()
        if sum(each in text for each in _BROAD) > 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler)
        and isinstance(node.type, ast.Tuple)
        and len(_BROAD & {ast.unparse(each) for each in node.type.elts}) > 1
    }

    assert broad == set(_BROAD_HANDLERS)


def test_no_file_mentions_the_folder_of_a_person() -> None:
    found = {name: _HOME.findall((ROOT / name).read_bytes()) for name in tracked()}

    assert {name: paths for name, paths in found.items() if paths} == {}
