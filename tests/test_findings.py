import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks import catalogue
from contrast_tasks.catalogue import ENTRIES
from contrast_tasks.catalogue.entry import define
from contrast_tasks.errors import Location
from contrast_tasks.findings import (
    Finding,
    Findings,
    FindingsError,
    Severity,
    raise_errors,
    sort_key,
)
from contrast_tasks.schema import validate
from tests.fakes.findings import finding


def at(file: str, line: int | None, severity: Severity = Severity.WARNING) -> Finding:
    return finding(severity, where=Location(file=file, line=line))


def test_a_finding_is_shown_with_place_severity_code_rule_and_hint() -> None:
    text = str(finding(hint="set it", where=Location(file="a.yml", line=87)))

    assert text == ("a.yml:87: error[G030 memory-limit]: found a\n  hint: set it")


def test_a_finding_without_hint_is_one_line() -> None:
    assert "\n" not in str(finding())


def test_severities_are_ordered() -> None:
    assert [severity.rank for severity in (Severity.NOTE, Severity.WARNING, Severity.ERROR)] == [
        0,
        1,
        2,
    ]


def test_absent_members_are_left_out_of_the_json_form() -> None:
    document = at("a.yml", None).to_json()

    assert document["where"] == {"file": "a.yml"}
    assert "hint" not in document


def test_findings_are_shown_by_file_line_and_code() -> None:
    ordered = [
        at("a.yml", None),
        at("a.yml", 2),
        at("a.yml", 10, Severity.WARNING),
        at("a.yml", 10, Severity.ERROR),
        at("b.yml", 1),
    ]

    shuffled = [ordered[index] for index in (3, 1, 4, 0, 2)]

    assert sorted(shuffled, key=sort_key) == ordered


@pytest.mark.parametrize("severities", [[], [Severity.NOTE], [Severity.WARNING, Severity.NOTE]])
def test_without_an_error_nothing_is_raised(severities: list[Severity]) -> None:
    raise_errors(finding(severity) for severity in severities)


def test_with_one_error_all_findings_are_raised_in_order() -> None:
    late, early = at("a.yml", 9), at("a.yml", 2, Severity.ERROR)

    with pytest.raises(FindingsError) as caught:
        raise_errors([late, early])

    assert caught.value.findings == (early, late)
    assert caught.value.exit_code == 12


NAMES = st.text(min_size=1, max_size=8)
NUMBERS = st.none() | st.integers(1, 9999)


@given(
    st.sampled_from(list(ENTRIES.values())).flatmap(
        lambda each: st.builds(
            Finding,
            st.just(each),
            st.builds(
                Location,
                file=NAMES,
                line=NUMBERS,
                column=NUMBERS,
                pointer=st.sampled_from(["", "/a/0"]),
            ),
            NAMES,
            st.none() | st.text(max_size=8),
            is_milder=st.sampled_from([False, each.milder is not None]),
        )
    )
)
def test_the_json_form_is_valid_and_reads_back(item: Finding) -> None:
    document = item.to_json()

    assert Finding.from_json(document) == item
    assert validate(document, "findings") == []


def test_a_finding_without_a_hint_of_its_own_has_that_of_its_entry() -> None:
    where = Location(file="a.yml")

    assert Finding(catalogue.CPU_LIMIT, where, "m").hint == catalogue.CPU_LIMIT.hint
    assert Finding(catalogue.CPU_LIMIT, where, "m", "other").hint == "other"
    assert Finding(catalogue.CPU_LIMIT, where, "m", "").hint == ""


def test_the_milder_severity_applies_where_it_is_asked_for() -> None:
    item = Finding(catalogue.DUPLICATE, Location(file="a.yml"), "m", is_milder=True)

    assert item.severity is Severity.WARNING


def test_an_entry_with_one_severity_has_no_milder_one() -> None:
    with pytest.raises(ValueError, match="one severity"):
        Finding(catalogue.CPU_LIMIT, Location(file="a.yml"), "m", is_milder=True)


@pytest.mark.parametrize("head", ["G999 new error", "G033 cpu-limit error"])
def test_a_finding_of_an_entry_outside_the_catalogue_cannot_be_made(head: str) -> None:
    with pytest.raises(ValueError, match="not in the catalogue"):
        Finding(define(head, "a meaning"), Location(file="a.yml"), "m")


def test_a_finding_crosses_processes() -> None:
    item = Finding(catalogue.DUPLICATE, Location(file="a.yml", line=3), "m", is_milder=True)

    assert pickle.loads(pickle.dumps(item)) == item


def test_a_collector_names_subject_and_place() -> None:
    found = Findings[int](lambda line: Location(file="a.yml", line=line), "Deployment/web")

    found.report(catalogue.CPU_LIMIT, 7, "found a")

    assert [(str(item.where), item.message) for item in found] == [
        ("a.yml:7", "Deployment/web: found a")
    ]
