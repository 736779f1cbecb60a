"""`--update-golden` writes what a test found; without it a golden file is only read."""

from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py").read_text()
TEST = """
def test_one(golden):
    assert golden("folder/a.txt", b"new") == b"new"
"""


@pytest.mark.parametrize(
    ("words", "passed", "content"),
    [
        pytest.param([], 0, b"old", id="read"),
        pytest.param(["--update-golden"], 1, b"new", id="written"),
    ],
)
def test_golden_files_change_only_when_that_was_asked_for(
    pytester: pytest.Pytester, words: list[str], passed: int, content: bytes
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(TEST)
    golden = pytester.path / "golden" / "folder" / "a.txt"
    golden.parent.mkdir(parents=True)
    golden.write_bytes(b"old")

    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", *words)

    result.assert_outcomes(passed=passed, failed=1 - passed)
    assert golden.read_bytes() == content
