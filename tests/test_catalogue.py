"""Every entry of the catalogue is complete, and named by a check."""

import re
from pathlib import Path

import pytest

import contrast_tasks
from contrast_tasks import catalogue
from contrast_tasks.catalogue import ENTRIES, Entry, Severity

NAMES = {entry: name for name, entry in vars(catalogue).items() if isinstance(entry, Entry)}
CHECKS = "".join(
    path.read_text()
    for path in Path(contrast_tasks.__file__).parent.rglob("*.py")
    if path.parent.name != "catalogue"
)
EVERY = pytest.mark.parametrize(
    "entry", [pytest.param(entry, id=f"{entry.code}-{entry.rule}") for entry in ENTRIES.values()]
)


def test_no_two_entries_have_the_same_code_and_rule() -> None:
    assert len(ENTRIES) == len(NAMES)


@EVERY
def test_a_check_names_the_entry(entry: Entry) -> None:
    assert f"catalogue.{NAMES[entry]}" in CHECKS


@EVERY
def test_an_entry_says_what_it_means_and_what_to_do(entry: Entry) -> None:
    assert entry.meaning
    assert entry.advice


@EVERY
def test_the_first_severity_is_the_worse_one(entry: Entry) -> None:
    assert entry.milder is None or entry.milder.rank < entry.severity.rank


def test_missing_values_are_errors_of_the_manifest() -> None:
    by_name = {
        entry
        for entry in ENTRIES.values()
        if re.match("M.* missing-", f"{entry.code} {entry.rule}")
    }

    assert by_name == catalogue.MISSING_VALUES
    assert {entry.severity for entry in catalogue.MISSING_VALUES} == {Severity.ERROR}
