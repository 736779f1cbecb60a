"""Every entry of the catalogue is complete, and named by a check."""

import re
from pathlib import Path
from typing import Any

import contrast_tasks
from contrast_tasks import catalogue
from contrast_tasks.catalogue import ENTRIES, Entry, Severity
from contrast_tasks.settings.model import SHAPE

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


def test_an_error_about_a_source_is_answered_in_the_settings_or_says_why_not() -> None:
    of_sources = [entry for entry in ENTRIES.values() if entry.code[0] != "M"]
    errors = [entry for entry in of_sources if entry.severity is Severity.ERROR]

    assert [NAMES[entry] for entry in errors if bool(entry.answer) == bool(entry.why_none)] == []


def test_answers_are_keys_of_the_settings() -> None:
    tables = SHAPE.keys
    workload = tables["workloads"].shape.value.keys
    for entry in ENTRIES.values():
        if entry.answer is not None:
            level: Any = workload if entry.answer.is_in_workload else tables
            for part in entry.answer.key.split("."):
                if part.isupper():
                    level = getattr(level.value, "keys", {})
                    continue
                level = getattr(level[part].shape, "keys", level[part].shape)


def test_answers_for_all_are_keys_of_the_defaults_with_values() -> None:
    defaults = SHAPE.keys["defaults"].shape.keys
    shared = [
        entry.answer for entry in ENTRIES.values() if entry.answer and entry.answer.is_for_all
    ]

    assert shared
    assert [answer.key for answer in shared if answer.key not in defaults] == []
    assert [answer for answer in shared if answer.is_choice] == []


def test_only_errors_that_deny_no_pod_can_be_ignored() -> None:
    names = {NAMES[entry] for entry in ENTRIES.values() if entry.can_be_ignored}

    assert names == {"MEMORY_LIMIT", "MEMORY_REQUEST_DIFFERS"}


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
