import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.errors import FindingsError, Location
from contrast_tasks.findings import Finding, Severity, raise_errors, sort_key
from contrast_tasks.schema import validate


def finding(
    file: str = "a.yml",
    line: int | None = 1,
    code: str = "G001",
    severity: Severity = Severity.WARNING,
    hint: str = "",
) -> Finding:
    return Finding(
        code=code,
        rule="memory-limit",
        severity=severity,
        message="container x has no memory limit",
        where=Location(file=file, line=line),
        hint=hint,
    )


def test_a_finding_is_shown_with_place_severity_code_rule_and_hint() -> None:
    text = str(finding(line=87, severity=Severity.ERROR, hint="set it"))

    assert text == (
        "a.yml:87: error[G001 memory-limit]: container x has no memory limit\n  hint: set it"
    )


def test_a_finding_without_hint_is_one_line() -> None:
    assert "\n" not in str(finding())


def test_severities_are_ordered() -> None:
    assert [severity.rank for severity in (Severity.NOTE, Severity.WARNING, Severity.ERROR)] == [
        0,
        1,
        2,
    ]


def test_absent_members_are_left_out_of_the_json_form() -> None:
    document = finding(line=None).to_json()

    assert document["where"] == {"file": "a.yml"}
    assert "hint" not in document


def test_findings_are_shown_by_file_line_and_code() -> None:
    ordered = [
        finding("a.yml", None),
        finding("a.yml", 2),
        finding("a.yml", 10, "G001"),
        finding("a.yml", 10, "G002"),
        finding("b.yml", 1),
    ]

    shuffled = [ordered[index] for index in (3, 1, 4, 0, 2)]

    assert sorted(shuffled, key=sort_key) == ordered


@pytest.mark.parametrize("severities", [[], [Severity.NOTE], [Severity.WARNING, Severity.NOTE]])
def test_without_an_error_nothing_is_raised(severities: list[Severity]) -> None:
    raise_errors(finding(severity=severity) for severity in severities)


def test_with_one_error_all_findings_are_raised_in_order() -> None:
    late, early = finding(line=9), finding(line=2, severity=Severity.ERROR)

    with pytest.raises(FindingsError) as caught:
        raise_errors([late, early])

    assert caught.value.findings == (early, late)
    assert caught.value.exit_code == 12


NAMES = st.text(min_size=1, max_size=8)
NUMBERS = st.none() | st.integers(1, 9999)


@given(
    st.builds(
        Finding,
        code=st.sampled_from(["G001", "M021", "W1012"]),
        rule=st.just("some-rule"),
        severity=st.sampled_from(Severity),
        message=NAMES,
        where=st.builds(
            Location,
            file=NAMES,
            line=NUMBERS,
            column=NUMBERS,
            pointer=st.sampled_from(["", "/a/0"]),
        ),
        hint=st.text(max_size=8),
    )
)
def test_the_json_form_is_valid_and_reads_back(item: Finding) -> None:
    document = item.to_json()

    assert Finding.from_json(document) == item
    assert validate(document, "findings") == []
