"""docs/reference/ says what the code does: generating it again gives the same bytes."""

from pathlib import Path

import pytest

from contrast_tasks.cli.commands import SUMMARIES
from dev.reference.catalogue import Kind, catalogue
from dev.reference.findings_page import kinds
from dev.reference.meanings import MEANINGS
from dev.reference.pages import FOLDER, PAGES, ROOT

MODULE = """
def check(subject, code):
    subject.error("G001", "a-rule", "found a, expected b")
    subject.warn("G001", "a-rule", "found c")
    subject.add("G002" if code else "G003", "other-rule")
    subject.missing("M001", "value", "path")
    make("G004", Severity.NOTE, rule="last-rule")
    Problem(rule="W-MESH-PORT", severity=severity, found="a", wanted="b")
    subject.error(code, "no-rule", "found d")
"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_says(name: str) -> None:
    committed = (ROOT / FOLDER / name).read_text()

    assert PAGES[name](ROOT) == committed, "run './doitw docs'"


def test_every_finding_has_a_meaning_and_every_meaning_a_finding() -> None:
    assert {(kind.code, kind.rule) for kind in kinds(ROOT)} == MEANINGS.keys()


def test_the_catalogue_reads_codes_rules_and_severities(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(MODULE)

    assert catalogue([tmp_path]) == [
        Kind(code="G001", rule="a-rule", severities=("error", "warning")),
        Kind(code="G002", rule="other-rule", severities=("error",)),
        Kind(code="G003", rule="other-rule", severities=("error",)),
        Kind(code="G004", rule="last-rule", severities=("note",)),
        Kind(code="G040", rule="mesh-port", severities=("error", "warning")),
        Kind(code="M001", rule="missing-value", severities=("error",)),
    ]


def test_every_command_has_a_section() -> None:
    text = (ROOT / FOLDER / "commands.md").read_text()

    assert [name for name in SUMMARIES if f"\n## {name}\n" not in text] == []
