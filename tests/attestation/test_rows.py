"""The table of rows in ROWS.md is whole and says the truth."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("attestation", "atls", "coordinator")
_ROW = re.compile(r"\| (\d+) \| [^|]+ \| ([^|]+) \|")
_DEFINED = re.compile(r"^def (test_\w+)\(", re.MULTILINE)
_NUMBERED = re.compile(r"test_((?:\d\d_)+)")


def table() -> list[tuple[int, set[str]]]:
    """Return row numbers and the tests named for each, `path::name`, in the file's order."""
    text = (ROOT / "tests" / "attestation" / "ROWS.md").read_text()
    return [(int(row), set(re.findall(r"`([^`]+)`", tests))) for row, tests in _ROW.findall(text)]


def defined(path: Path) -> set[str]:
    return {
        f"{path.relative_to(ROOT).as_posix()}::{name}"
        for name in _DEFINED.findall(path.read_text())
    }


def test_every_row_appears_once_and_names_a_test() -> None:
    rows = table()

    assert [row for row, _ in rows] == list(range(1, 80))
    assert [row for row, tests in rows if not tests] == []


def test_every_named_test_exists() -> None:
    named = set().union(*(tests for _, tests in table()))
    files = {ROOT / test.split("::")[0] for test in named}
    existing = set().union(*(defined(path) for path in files if path.is_file()))

    assert named - existing == set()


def test_every_test_with_a_number_stands_in_its_row() -> None:
    rows = dict(table())
    paths = (path for folder in FOLDERS for path in (ROOT / "tests" / folder).rglob("test_*.py"))

    missing = {
        (int(number), test)
        for path in paths
        for test in defined(path)
        if (found := _NUMBERED.match(test.split("::")[1]))
        for number in found[1].strip("_").split("_")
        if test not in rows[int(number)]
    }

    assert missing == set()
