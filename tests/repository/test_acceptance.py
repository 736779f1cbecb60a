"""The table of the mesh's acceptance tests: every row has a test, and every test of the table exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "internals" / "service-mesh.md"
TESTS = ROOT / "tests"
ROWS = [f"P{n}" for n in range(1, 13)] + [f"N{n}" for n in range(1, 16)]


def table() -> list[tuple[str, str, str]]:
    """Return row, file and function of each line."""
    _, _, section = PAGE.read_text().partition("## 11 Acceptance tests")
    return re.findall(r"^\| ?(\w*) \| `([\w/]+\.py)::(\w+)` \|$", section, re.MULTILINE)


def test_every_row_has_a_test() -> None:
    assert sorted({row for row, _, _ in table() if row}) == sorted(ROWS)


def test_every_test_of_the_table_exists() -> None:
    missing = [
        f"{file}::{name}"
        for _, file, name in table()
        if f"\ndef {name}(" not in (TESTS / file).read_text()
    ]

    assert missing == []


def test_every_test_between_namespaces_is_in_the_table() -> None:
    file = "e2e/test_mesh_guest.py"
    listed = {name for _, found, name in table() if found == file}

    assert set(re.findall(r"^def (test_\w+)\(", (TESTS / file).read_text(), re.MULTILINE)) == listed
