"""How `./doitw test` deals out the tests, and what it makes of processes that run side by side."""

import os
from pathlib import Path

import pytest

from dev.checks import _status, _steps

ROOT = Path(__file__).resolve().parents[2]


def test_every_test_file_is_in_one_share_of_the_unit_tests() -> None:
    shares = dict(_steps(()))["unit tests"]

    given = [word for share in shares for word in share if word.endswith(".py")]
    assert sorted(given) == sorted(
        str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")
    )


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param("exit 0", "exit 0", 0, id="none"),
        pytest.param("exit 4", "exit 0", 4, id="the first"),
        pytest.param("exit 0", "exit 5", 5, id="the second"),
    ],
)
def test_one_process_that_fails_fails_the_check(first: str, second: str, expected: int) -> None:
    assert _status([["sh", "-c", first], ["sh", "-c", second]], os.environ) == expected


def test_what_the_second_process_says_is_shown_in_the_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    second = "echo out of the second; echo error of the second >&2"

    _status([["sh", "-c", "echo out of the first"], ["sh", "-c", second]], os.environ)

    shown = capfd.readouterr()
    assert shown.out == "out of the first\n"
    assert shown.err == "out of the second\nerror of the second\n"
