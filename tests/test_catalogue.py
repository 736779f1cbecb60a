"""Every entry of the catalogue is complete, and named by a check."""

import re
from pathlib import Path

import contrast_tasks
from contrast_tasks import catalogue
from contrast_tasks.catalogue import ENTRIES, Entry, Severity

NAMES = {entry: name for name, entry in vars(catalogue).items() if isinstance(entry, Entry)}
CHECKS = "".join(
    path.read_text()
    for path in Path(contrast_tasks.__file__).parent.rglob("*.py")
    if path.parent.name != "catalogue"
)


def test_no_two_entries_have_the_same_code_and_rule() -> None:
    assert len(ENTRIES) == len(NAMES)


def test_a_check_names_every_entry() -> None:
    assert [name for name in NAMES.values() if f"catalogue.{name}" not in CHECKS] == []


def test_every_entry_says_what_it_means_and_what_to_do() -> None:
    assert [name for entry, name in NAMES.items() if not (entry.meaning and entry.advice)] == []


def test_the_first_severity_is_the_worse_one() -> None:
    two = [entry for entry in ENTRIES.values() if entry.milder is not None]

    assert two
    assert all(entry.milder.rank < entry.severity.rank for entry in two if entry.milder)


def test_missing_values_are_errors_of_the_manifest() -> None:
    by_name = {
        entry
        for entry in ENTRIES.values()
        if re.match("M.* missing-", f"{entry.code} {entry.rule}")
    }

    assert by_name == catalogue.MISSING_VALUES
    assert {entry.severity for entry in catalogue.MISSING_VALUES} == {Severity.ERROR}
