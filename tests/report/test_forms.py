"""Every form of a report: what is in it, that it keeps its schema, and that hostile text stays text."""

import io
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from contrast_tasks.catalogue import ENTRIES, MEMORY_LIMIT
from contrast_tasks.errors import (
    GraphError,
    ImageError,
    Location,
    NotAuthorised,
    SettingsError,
)
from contrast_tasks.findings import Finding, FindingsError, Severity, worst_exit_code
from contrast_tasks.manifest.validate import ManifestError
from contrast_tasks.report import document, events, github, gitlab, junit, sarif
from contrast_tasks.report.model import (
    Failure,
    Report,
    Step,
    counted,
    exit_code_of,
    sorted_findings,
)
from contrast_tasks.report.text import closing_lines, failure_line, finding_line, wants_colour
from contrast_tasks.schema import validate
from tests.fakes import findings

HOSTILE = 'a <b> & "c" 100%\r\n::error::x \x1b[31m\x00'


def finding(severity: Severity = Severity.ERROR, message: str = "found a", **where: Any) -> Finding:
    place = {"file": "web.yml", "line": 3, "column": 5, **where}
    return findings.finding(severity, message, hint="set both", where=Location(**place))


FULL = Report(
    command="generate",
    exit_code=12,
    findings=(finding(), finding(Severity.NOTE, file="z.yml")),
    failures=(
        Failure.of(FindingsError([finding()]), "workload:web"),
        Failure.of(
            ImageError("no image", hint="lock it", where=Location(file="x", line=1)), "lock"
        ),
    ),
    steps=(
        Step(name="lock", status="failed"),
        Step(name="workload:web", status="changed", wrote=("a", "b")),
        Step(name="manifest", status="not-run"),
    ),
    result={"workloads": 1},
)
EMPTY = Report(command="lint")


@pytest.mark.parametrize("report", [FULL, EMPTY], ids=["full", "empty"])
def test_the_document_has_all_members_always(report: Report) -> None:
    shown = json.loads(document.render(report))

    assert list(shown) == [
        "version",
        "command",
        "exit_code",
        "findings",
        "errors",
        "tasks",
        "result",
    ]
    assert validate(shown, "report") == []


def test_the_document_names_failures_with_task_and_place() -> None:
    assert json.loads(document.render(FULL))["errors"][1] == {
        "kind": "ImageError",
        "message": "no image",
        "exit_code": 20,
        "hint": "lock it",
        "where": {"file": "x", "line": 1},
        "task": "lock",
    }


def test_the_document_has_the_reason_that_a_coordinator_gave() -> None:
    denied = NotAuthorised("denied")
    denied.reason = "approvals_missing"

    shown = json.loads(document.render(Report.of_error("set", denied)))

    assert shown["errors"][0]["reason"] == "approvals_missing"
    assert validate(shown, "report") == []


def test_the_stream_begins_with_the_version_and_ends_with_the_exit_code() -> None:
    lines = [
        json.loads(line)
        for line in (
            events.render_begin("generate")
            + events.render_step(FULL.steps[1])
            + events.render(FULL)
        ).splitlines()
    ]

    assert [line["event"] for line in lines] == [
        "begin",
        "task",
        "finding",
        "finding",
        "error",
        "error",
        "end",
    ]
    assert lines[0]["version"] == "1.0"
    assert lines[-1]["exit_code"] == 12
    assert [problem for line in lines for problem in validate(line, "events")] == []


def test_sarif_without_findings_has_results_nevertheless() -> None:
    [run] = json.loads(sarif.render(EMPTY))["runs"]

    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True


def test_sarif_has_a_result_per_finding_and_a_notification_per_error() -> None:
    document = json.loads(sarif.render(FULL))

    [run] = document["runs"]
    assert document["version"] == "2.1.0"
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["G030/memory-limit", "G040/mesh-unused-egress"]
    assert run["results"][0] == {
        "ruleId": "G030/memory-limit",
        "ruleIndex": 0,
        "level": "error",
        "message": {"text": "found a; set both"},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": "web.yml", "uriBaseId": "%SRCROOT%"},
                    "region": {"startLine": 3, "startColumn": 5},
                }
            }
        ],
    }
    [notification] = run["invocations"][0]["toolExecutionNotifications"]
    assert notification["message"]["text"] == "no image; lock it"


@pytest.mark.parametrize(
    "report",
    [
        pytest.param(FULL, id="full"),
        pytest.param(EMPTY, id="empty"),
        pytest.param(
            Report(
                command="lint",
                findings=tuple(
                    Finding(entry, Location(file="a b.yml"), HOSTILE) for entry in ENTRIES.values()
                ),
            ),
            id="every-entry",
        ),
    ],
)
def test_sarif_follows_the_schema_of_the_standard(report: Report) -> None:
    schema = json.loads((Path(__file__).parent / "sarif/sarif-2.1.0-rtm.5.json").read_bytes())

    Draft4Validator(schema).validate(json.loads(sarif.render(report)))


def test_a_sarif_rule_is_an_entry_of_the_catalogue() -> None:
    report = Report(command="lint", findings=(finding(),))

    [rule] = json.loads(sarif.render(report))["runs"][0]["tool"]["driver"]["rules"]

    assert rule == {
        "id": "G030/memory-limit",
        "name": "memory-limit",
        "shortDescription": {"text": MEMORY_LIMIT.meaning},
        "fullDescription": {"text": f"{MEMORY_LIMIT.meaning}; what to do: {MEMORY_LIMIT.advice}"},
        "help": {
            "text": f"{MEMORY_LIMIT.advice} (see docs/reference/findings.md#g030-memory-limit)",
            "markdown": f"{MEMORY_LIMIT.advice}"
            " ([docs/reference/findings.md](docs/reference/findings.md#g030-memory-limit))",
        },
        "defaultConfiguration": {"level": "error"},
    }


def test_sarif_leaves_out_a_region_it_does_not_know() -> None:
    report = Report(command="lint", findings=(finding(line=None, column=None, file="a b.yml"),))

    [result] = json.loads(sarif.render(report))["runs"][0]["results"]

    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a%20b.yml", "uriBaseId": "%SRCROOT%"}
    }


def test_gitlab_has_an_entry_per_finding_and_per_error() -> None:
    """Members as GitLab documents them for its Code Quality report."""
    entries = json.loads(gitlab.render(FULL))

    assert json.loads(gitlab.render(EMPTY)) == []
    assert [{**each, "fingerprint": len(each["fingerprint"])} for each in entries] == [
        {
            "description": text,
            "check_name": name,
            "fingerprint": 64,
            "severity": severity,
            "location": {"path": path, "lines": {"begin": line}},
        }
        for name, severity, text, path, line in (
            ("G030/memory-limit", "major", "found a; set both", "web.yml", 3),
            ("G040/mesh-unused-egress", "info", "found a; set both", "z.yml", 3),
            ("ImageError", "blocker", "no image; lock it", "x", 1),
        )
    ]


def test_a_fingerprint_of_gitlab_is_that_of_the_finding_and_not_of_its_line() -> None:
    def fingerprints(*found: Finding) -> list[str]:
        report = Report(command="lint", findings=found)
        return [each["fingerprint"] for each in json.loads(gitlab.render(report))]

    before = fingerprints(finding(line=3), finding(line=9), finding(message="found b"))

    assert fingerprints(finding(line=4), finding(line=30), finding(message="found b")) == before
    assert len(set(before)) == 3
    assert fingerprints(finding(file="other.yml"))[0] not in before


def test_a_file_is_named_from_the_root_of_what_gitlab_checked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    monkeypatch.setenv("CI_PROJECT_DIR", str(tmp_path))

    [entry] = json.loads(gitlab.render(Report(command="lint", findings=(finding(),))))

    assert entry["location"]["path"] == "shop/web.yml"


def test_junit_counts_cases_failures_errors_and_skipped() -> None:
    suite = ET.fromstring(junit.render(FULL)).find("testsuite")

    assert suite is not None
    assert (
        suite.get("tests"),
        suite.get("failures"),
        suite.get("errors"),
        suite.get("skipped"),
    ) == (
        "6",
        "1",
        "1",
        "1",
    )


def test_junit_of_hostile_text_is_still_xml() -> None:
    report = Report(command="lint", findings=(finding(message=HOSTILE, file=HOSTILE),))

    root = ET.fromstring(junit.render(report))

    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert "<b>" in (failure.get("message") or "")


def test_github_encodes_what_would_end_a_command() -> None:
    report = Report(command="lint", findings=(finding(message=HOSTILE, file="a,b:c.yml"),))

    text = github.render(report).decode()

    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert text.startswith(
        '::error file=a%2Cb%3Ac.yml,line=3,col=5,title=G030 memory-limit::a <b> & "c" 100%25%0D%0A::error'
    )


def test_github_names_severities_in_its_own_words() -> None:
    report = Report(
        command="lint",
        findings=(finding(Severity.NOTE), finding(Severity.WARNING)),
        failures=(Failure.of(ImageError("no image")),),
    )

    commands = [line.split(" ")[0] for line in github.render(report).decode().splitlines()]
    assert commands == ["::notice", "::warning", "::error"]


def test_a_finding_is_one_line_and_its_hint() -> None:
    assert finding_line(finding()) == (
        "web.yml:3:5: error[G030 memory-limit]: found a\n  hint: set both"
    )


def test_colour_underlines_the_severity_only() -> None:
    assert finding_line(finding(), colour=True).startswith(
        "web.yml:3:5: \x1b[31merror\x1b[0m[G030 memory-limit]: found a"
    )


def test_an_error_without_place_is_the_programs() -> None:
    assert failure_line(Failure.of(ImageError("no image"))) == "contrast-tasks: error: no image"


def test_the_closing_lines_count_findings_and_leave_other_errors_as_they_are() -> None:
    assert closing_lines(FULL) == [
        "x:1: error: no image\n  hint: lock it",
        "contrast-tasks: error: 1 error, 1 note, only a and b were written",
    ]


def _closing(error: FindingsError, *wrote: str) -> list[str]:
    failures = (Failure.of(error, "check"),)
    steps = (Step(name="lock", status="changed", wrote=wrote),)
    return closing_lines(
        Report(command="generate", findings=error.findings, failures=failures, steps=steps)
    )


@pytest.mark.parametrize(
    ("wrote", "words"),
    [
        pytest.param((), "nothing was written", id="nothing"),
        pytest.param((".contrast/keys.json",), "nothing was written", id="state-of-ours"),
        pytest.param(("contrast.lock",), "only contrast.lock was written", id="one"),
        pytest.param(("a", "b", "c", "d", "e"), "5 files were written", id="many"),
    ],
)
def test_a_run_that_failed_tells_what_it_has_written_nevertheless(
    wrote: tuple[str, ...], words: str
) -> None:
    assert _closing(FindingsError([finding()]), *wrote) == [
        f"contrast-tasks: error: 1 error, {words}"
    ]


def test_an_error_of_another_class_that_is_findings_is_said_once_with_its_own_hint() -> None:
    plain = finding().replace(hint="")

    assert closing_lines(
        Report(command="verify", findings=(plain,), failures=(Failure.of(ManifestError([plain])),))
    ) == [
        "contrast-tasks: error: 1 error",
        "  hint: run 'contrast-tasks generate' to write the manifest again",
    ]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environ", "is_terminal", "wanted"),
    [
        pytest.param("auto", {}, True, True, id="terminal"),
        pytest.param("auto", {}, False, False, id="pipe"),
        pytest.param("auto", {"NO_COLOR": "1"}, True, False, id="no-color"),
        pytest.param("auto", {"NO_COLOR": ""}, True, True, id="empty-no-color"),
        pytest.param("auto", {"TERM": "dumb"}, True, False, id="dumb"),
        pytest.param("auto", {"FORCE_COLOR": "1"}, False, True, id="force"),
        pytest.param("auto", {"CLICOLOR_FORCE": "1"}, False, True, id="clicolor-force"),
        pytest.param("auto", {"FORCE_COLOR": "0"}, False, False, id="force-0"),
        pytest.param("auto", {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False, id="no-wins"),
        pytest.param("always", {"NO_COLOR": "1"}, False, True, id="flag-always"),
        pytest.param("never", {"FORCE_COLOR": "1"}, True, False, id="flag-never"),
    ],
)
def test_colour_follows_flag_environment_terminal(
    choice: str, environ: dict[str, str], *, is_terminal: bool, wanted: bool
) -> None:
    stream = _Terminal() if is_terminal else io.StringIO()

    assert wants_colour(choice, environ, stream) is wanted


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        pytest.param([], 0, id="none"),
        pytest.param(
            [FindingsError([finding(Severity.WARNING)]), FindingsError([finding()])], 12, id="worst"
        ),
        pytest.param([ImageError("a"), FindingsError([finding()])], 20, id="first-kind-leads"),
        pytest.param([FindingsError([finding()]), ImageError("a")], 12, id="findings-lead"),
        pytest.param([SettingsError("a")], 2, id="settings"),
        pytest.param([GraphError("a")], 3, id="graph"),
    ],
)
def test_the_exit_code_is_that_of_the_first_kind_of_error(errors: list[Any], code: int) -> None:
    assert exit_code_of(errors) == code


def test_the_worst_finding_decides_for_lint() -> None:
    assert worst_exit_code([]) == 0
    assert worst_exit_code([finding(Severity.NOTE)]) == 10
    assert worst_exit_code([finding(Severity.NOTE), finding(Severity.WARNING)]) == 11


def test_findings_are_counted_in_words() -> None:
    assert counted([]) == ""
    assert counted([finding(), finding(), finding(Severity.NOTE)]) == "2 errors, 1 note"


def test_findings_are_shown_once_in_the_order_of_files_and_lines() -> None:
    late, early = finding(file="b.yml"), finding(file="a.yml", line=9)

    assert sorted_findings([late, early, late]) == (early, late)


def test_hints_name_a_command_as_this_one_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    hint = "run 'contrast-tasks lock', or install contrast-tasks with the extra 'measure'"
    kept = finding().replace(hint=hint)
    failed = Failure.of(ImageError("no image", hint=hint), "lock")
    failure = Failure.of(FindingsError([kept]), "check")
    grave = failure.replace(hint="run 'contrast-tasks generate' again")
    report = FULL.replace(findings=(kept,), failures=(failed, grave))

    monkeypatch.delenv("CONTRAST_COMMAND", raising=False)
    assert finding_line(kept).endswith(f"\n  hint: {hint}")

    monkeypatch.setenv("CONTRAST_COMMAND", "../doitw")
    called = "run '../doitw lock', or install contrast-tasks with the extra 'measure'"
    assert finding_line(kept).endswith(f"\n  hint: {called}")
    assert failure_line(failed) == f"contrast-tasks: error: no image\n  hint: {called}"
    assert closing_lines(report)[-1] == "  hint: run '../doitw generate' again"


def test_junit_has_the_seconds_of_each_task_and_of_all() -> None:
    """As CI services read them. Source: the JUnit schema of Jenkins' xunit plugin, `time` in seconds."""
    steps = (
        Step(name="lock", status="changed", seconds=0.25),
        Step(name="check", status="unchanged", seconds=1.5),
        Step(name="output:a.yml", status="up-to-date"),
    )

    root = ET.fromstring(junit.render(Report(command="generate", steps=steps)))

    (suite,) = root.iter("testsuite")
    assert suite.attrib["time"] == "1.750"
    assert [case.attrib["time"] for case in root.iter("testcase")] == ["0.250", "1.500", "0.000"]


def test_what_was_rendered_is_shown_at_the_kustomization_which_the_repository_has() -> None:
    rendered, source = "build/rendered/prod.yml", "prod/kustomization.yaml"
    found = [
        findings.finding(
            Severity.ERROR,
            "found a",
            hint="set both",
            where=Location(file=rendered, line=line).rendered_from(source),
        )
        for line in (7, 8)
    ]
    report = Report(command="lint", findings=(found[0],))
    moved = Report(command="lint", findings=(found[1],))
    text = f"{rendered}:7: found a; set both"

    (run,) = json.loads(sarif.render(report))["runs"]
    (result,) = run["results"]
    (entry,) = json.loads(gitlab.render(report))
    (other,) = json.loads(gitlab.render(moved))

    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == source
    assert (place["region"], result["message"]["text"]) == ({"startLine": 1}, text)
    assert entry["location"] == {"path": source, "lines": {"begin": 1}}
    assert entry["description"] == text
    assert entry["fingerprint"] == other["fingerprint"]
    annotation = github.render(report).decode()
    assert annotation.startswith(f"::error file={source},line=1,title=")
    assert annotation.endswith(f"::{rendered}:7: found a%0Aset both\n")
    # People at the project have the file.
    assert finding_line(found[0]).startswith(f"{rendered}:7: ")
