import pytest

from dev.verdicts import SomeFailed, Verdict, tell


def test_each_check_has_a_line_and_the_count_is_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tell([Verdict("a.json", "read"), Verdict("b.json", "written again")])

    assert capsys.readouterr().out.splitlines() == [
        "ok a.json: read",
        "ok b.json: written again",
        "2 passed, 0 failed",
    ]


def test_a_line_may_stand_before_the_count(capsys: pytest.CaptureFixture[str]) -> None:
    tell([Verdict("a.json", "read")], before_total="1 was short")

    assert capsys.readouterr().out.splitlines()[1:] == ["1 was short", "1 passed, 0 failed"]


def test_a_failed_check_has_its_reason_in_its_line_and_ends_with_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SomeFailed) as caught:
        tell([Verdict("a.json", "read"), Verdict("b.json", "read", "line 3: no\nline 4: neither")])

    assert caught.value.exit_code == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok a.json: read",
        "FAILED b.json: read: line 3: no | line 4: neither",
        "1 passed, 1 failed",
    ]
