"""docs/reference/ says what the code does: generating it again gives the same bytes."""

import sys

import pytest

from contrast_tasks.catalogue import ENTRIES
from contrast_tasks.cli.commands import SUMMARIES
from dev.checkout import ROOT
from dev.reference.findings_page import heading
from dev.reference.pages import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    if "/man/" in name and sys.version_info >= (3, 13):
        pytest.skip("from Python 3.13 on argparse breaks the lines of a usage elsewhere")
    committed = (ROOT / name).read_text()

    assert PAGES[name](ROOT) == committed, "run './doitw docs'"


def test_every_finding_has_a_section() -> None:
    text = (ROOT / FOLDER / "findings.md").read_text()

    assert [entry for entry in ENTRIES.values() if f"\n## {heading(entry)}\n" not in text] == []


def test_every_command_has_a_section() -> None:
    text = (ROOT / FOLDER / "commands.md").read_text()

    assert [name for name in SUMMARIES if f"\n## {name}\n" not in text] == []
