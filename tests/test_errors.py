import pickle

import pytest

from contrast_tasks import errors
from contrast_tasks.errors import ContrastError, Location
from contrast_tasks.findings import FindingsError, Severity
from tests.fakes.findings import finding


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ContrastError", 1),
        ("UsageError", 2),
        ("SettingsError", 2),
        ("GraphError", 3),
        ("MissingReferenceValues", 13),
        ("ImageError", 20),
        ("ClusterError", 30),
        ("CoordinatorUnreachable", 40),
        ("EvidenceRejected", 41),
        ("MismatchError", 42),
        ("NotAuthorised", 43),
    ],
)
def test_every_error_has_the_exit_code_of_the_table(name: str, code: int) -> None:
    error = getattr(errors, name)("message")

    assert error.exit_code == code
    assert isinstance(error, ContrastError)
    assert f"{name} " in (errors.__doc__ or "")


@pytest.mark.parametrize(
    ("severities", "code"),
    [
        ([], 10),
        ([Severity.NOTE], 10),
        ([Severity.NOTE, Severity.WARNING], 11),
        ([Severity.ERROR, Severity.NOTE], 12),
    ],
)
def test_findings_exit_by_the_worst_of_them(severities: list[Severity], code: int) -> None:
    assert FindingsError([finding(severity) for severity in severities]).exit_code == code


@pytest.mark.parametrize(("count", "message"), [(1, "1 finding"), (2, "2 findings")])
def test_findings_are_counted_in_the_message(count: int, message: str) -> None:
    assert str(FindingsError([finding(Severity.NOTE)] * count)) == message


@pytest.mark.parametrize(
    "error",
    [
        ContrastError("m", hint="h", where=Location(file="a", line=1)),
        errors.NotAuthorised("m"),
        FindingsError([finding(Severity.ERROR)]),
    ],
)
def test_an_error_survives_the_way_to_another_process(error: ContrastError) -> None:
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert (str(again), again.hint, again.where) == (str(error), error.hint, error.where)
    assert again.exit_code == error.exit_code


@pytest.mark.parametrize(
    ("where", "text"),
    [
        (Location(file="a.yml"), "a.yml"),
        (Location(file="a.yml", line=7), "a.yml:7"),
        (Location(file="a.yml", line=7, column=2), "a.yml:7:2"),
        (Location(file="a.yml", column=2), "a.yml"),
        (Location(file="a.json", line=1, pointer="/x"), "a.json:1"),
    ],
)
def test_a_place_is_shown_as_editors_read_it(where: Location, text: str) -> None:
    assert str(where) == text
