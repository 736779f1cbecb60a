"""What a terminal or a log of CI would carry out is shown as text. Sources: see `shown`."""

import pytest

from contrast_tasks.errors import Location
from contrast_tasks.report.text import finding_line, shown
from tests.fakes.findings import finding


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("plain: ünïcode, 漢字\n\ttabs stay", "plain: ünïcode, 漢字\n\ttabs stay"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),  # sets the title of xterm
        ("red \x1b[31m", "red \\x1b[31m"),
        ("over\rwritten", "over\\x0dwritten"),
        ("back\x08space", "back\\x08space"),
        ("eight bits \x9b31m", "eight bits \\x9b31m"),
        ("turned \u202etxt.exe", "turned \\u202etxt.exe"),
        ("::set-env name=A::b", "\\x3a:set-env name=A::b"),
        ("line\n  ::error::x", "line\n  \\x3a:error::x"),
        ("a::b stays", "a::b stays"),
        ("x ##[group]y", "x \\x23#[group]y"),
        ("##vso[task.setvariable]", "\\x23#vso[task.setvariable]"),
        ("##teamcity[buildStop]", "\\x23#teamcity[buildStop]"),
        ("## a heading", "## a heading"),
    ],
)
def test_text_of_others_is_not_obeyed(text: str, wanted: str) -> None:
    assert shown(text) == wanted


def test_a_finding_keeps_its_colour_and_loses_that_of_its_file() -> None:
    found = finding(
        message="found '\x1b[2J'", where=Location(file="a\x1b[1m.yml", line=2), hint="not \x07 this"
    )

    line = finding_line(found, colour=True)

    assert line.startswith("a\\x1b[1m.yml:2: \x1b[")
    assert line.endswith(": found '\\x1b[2J'\n  hint: not \\x07 this")
    assert line.count("\x1b") == 2  # the colour of the severity, and its end


def test_a_newline_in_the_name_of_a_file_begins_no_line() -> None:
    found = finding(where=Location(file="a\ncontrast-tasks: error: sold.yml", line=2), hint="")

    line = finding_line(found)

    assert line.startswith("a\\ncontrast-tasks: error: sold.yml:2: ")
    assert "\n" not in line
