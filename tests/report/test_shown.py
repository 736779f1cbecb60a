"""What a terminal or a log of CI would carry out is shown as text. Sources: see `shown`."""

import io
import json
import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.cli.console import FORMS, Console
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.report.model import Failure, Report, Step
from contrast_tasks.report.text import finding_line, shown, shown_json, shown_xml
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


# What a terminal or a service carries out: see `shown`. A section of GitLab's log ends in control characters.
ATTACKS = st.sampled_from(
    [
        "\x1b]8;;https://x\x1b\\\\y",
        "\x9b2J",
        "section_start:1:a\r\x1b[0K",
        "\n::error::x",
        "::add-mask::x",
        "##[group]x",
        "##vso[task.x]",
        "##teamcity[x]",
        "\u202e",
        "\x7f",
        "\x85",
        "\u2028",
        "\n",
        " ",
        "a",
        ":",
        "#",
        "&<\"'\\\\",
    ]
)
TEXTS = st.lists(ATTACKS | st.text(max_size=3), max_size=4).map("".join)
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|##(\\[|vso\\[|teamcity\\[)"
)
COMMAND = re.compile(r"^\s*::", re.MULTILINE)


@settings(max_examples=40, deadline=None)
@given(text=TEXTS, form=st.sampled_from(sorted(FORMS)))
def test_no_text_of_others_reaches_a_log_or_a_terminal_as_a_command(text: str, form: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    console = Console(form=form, colour="never", environ={"CI": "1"}, stdout=out, stderr=err)
    found = finding(message=f"found {text}", hint=text, where=Location(file=f"{text}x", line=2))
    failure = Failure.of(UsageError(text, hint=text, where=Location(file=f"{text}y")), task=text)
    step = Step(name=text, status="changed", wrote=(f"build/{text}",))
    report = Report(
        command="lint",
        findings=(found,),
        failures=(failure, failure.replace(is_findings=True)),
        steps=(step,),
        result={"text": text},
    )

    console.begin("lint")
    console.step(step)
    console.say(text)
    console.data(f"{text}\n")
    console.end(report)

    assert not OBEYED.search(out.getvalue() + err.getvalue())
    commands = COMMAND.findall(out.getvalue() + err.getvalue())
    # Its own commands are how GitHub's form reports.
    assert len(commands) == (2 if form == "github" else 0)
    if form == "json":
        assert json.loads(out.getvalue())["result"] == {"text": text}
    if form == "junit":
        assert ET.fromstring(out.getvalue()).tag == "testsuites"  # our own


def test_json_has_the_same_value_and_xml_too() -> None:
    text = "\x9b2J \u202e ##vso[x] a::b"

    assert json.loads(shown_json(json.dumps([text], ensure_ascii=False))) == [text]
    assert ET.fromstring(shown_xml(f"<a>::{text}</a>")).text == f"::{text}"
