"""`lint`: show every finding about the sources without writing to the build directory, and what answers them in contrast.toml."""

import argparse
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from contrast_tasks.cli import project_flags
from contrast_tasks.cli.context import Context
from contrast_tasks.errors import UsageError
from contrast_tasks.findings import FindingsError, Severity, worst_exit_code
from contrast_tasks.report.hints import command
from contrast_tasks.report.model import (
    Report,
    counted,
    exit_code_of,
    number_of,
    sorted_findings,
)
from contrast_tasks.settings.model import FILE_NAME
from contrast_tasks.settings.outputs import STATE

if TYPE_CHECKING:
    from contrast_tasks.settings.edit import Change
    from contrast_tasks.steps.answers import Answers
    from contrast_tasks.tasks.workspace import Workspace

# Whether memory suffices is known once there is some.
_ROUNDS = 3
EXAMPLE = "lint --output sarif > findings.sarif"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    project_flags.configure(parser)
    severities = [severity.value for severity in Severity]
    parser.add_argument(
        "--fail-on",
        choices=severities,
        default=Severity.ERROR.value,
        metavar="SEVERITY",
        help=f"exit with 0 unless there are findings of this severity or a worse one: {', '.join(severities)}",
    )
    parser.add_argument(
        "--fix",
        action="store_true",
        help=f"show the lines of {FILE_NAME} that answer the findings",
    )
    parser.add_argument(
        "--write", action="store_true", help=f"with --fix: write them to {FILE_NAME}"
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Check the sources; the exit code is that of the worst finding, 10 note, 11 warning, 12 error, if it counts."""
    from contrast_tasks.steps.answers import is_answered

    if arguments.write and not arguments.fix:
        raise UsageError("lint: --write is given, expected --fix with it")
    flags, least = project_flags.flags_of(arguments, context), Severity(arguments.fail_on)
    if arguments.fix:
        return _fix(context, flags, least, is_written=arguments.write)
    report = _lint(context, flags, least)
    context.console.show(report.findings)
    context.console.say(_summary(report))
    _say_unlocked(report, context)
    if answered := sum(map(is_answered, report.findings)):
        many = number_of(answered, "finding")
        context.console.say(f"'{command('lint --fix')}' shows what answers {many} in {FILE_NAME}")
    return report


def _summary(report: Report) -> str:
    count = number_of(report.result["workloads"], "workload")
    return f"{count} checked, {counted(report.findings) or 'nothing found'}"


def _say_unlocked(report: Report, context: Context) -> None:
    """Say what this run could not look at, so that the next one is no surprise."""
    if unknown := report.result["unlocked"]:
        many = number_of(len(unknown), "image")
        context.console.say(
            f"{many} not locked: what users, volumes and programs of images need is found after '{command('lock')}'"
        )


def _lint(context: Context, flags: dict[str, Any], least: Severity) -> Report:
    """Check the sources, in a folder of its own where the project's cannot be written."""
    from contrast_tasks.cli.planned import open_apart
    from contrast_tasks.files import writable_folder

    with writable_folder(context.root, STATE) as place:
        if place.refusal is None:
            return _linted(context.workspace(**flags), least)
        apart = open_apart(context, flags, place)
        report = _linted(apart.workspace, least, database=apart.database)
        return apart.as_usual(report, context.settings(**flags))


def _linted(workspace: "Workspace", least: Severity, database: str | None = None) -> Report:
    from contrast_tasks.steps.ignored import unused
    from contrast_tasks.steps.locked import unlocked
    from contrast_tasks.tasks.database import DATABASE
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.pipeline import passed_findings
    from contrast_tasks.tasks.run import run_tasks

    selected = ["sources", "lock", "workload"]
    run = run_tasks(load_tasks(workspace), selected, database=database or DATABASE)
    reporter = run.reporter
    found = [*reporter.findings, *passed_findings(workspace)]
    found += unused(found, workspace.project.settings)
    findings = sorted_findings(workspace.in_files(found))
    workspace.prune()
    others = [error for error in reporter.errors if not isinstance(error, FindingsError)]
    failures = tuple(failure for failure in reporter.failures() if not failure.is_findings)
    result = {
        "workloads": len(workspace.project.index.workloads),
        "unlocked": unlocked(workspace.project),
    }
    fatal = [finding for finding in findings if finding.severity.rank >= least.rank]
    return Report(
        command="lint",
        exit_code=exit_code_of(others) or worst_exit_code(fatal),
        findings=findings,
        failures=failures,
        steps=tuple(reporter.steps),
        result=result,
    )


def _fix(context: Context, flags: dict[str, Any], least: Severity, *, is_written: bool) -> Report:
    """Show the answers to the findings, or write those by which nothing is lost, and check again."""
    from contrast_tasks.files import write_atomic
    from contrast_tasks.settings.edit import with_changes
    from contrast_tasks.steps.answers import answers_to

    report = _lint(context, flags, least)
    answers = answers_to(report.findings, context.settings(**flags))
    path, rounds = context.root / FILE_NAME, _ROUNDS if is_written else 0
    while answers.certain and rounds:
        text = path.read_bytes().decode() if path.is_file() else ""
        write_atomic(path, with_changes(text, answers.certain).encode())
        context.console.say(f"wrote {FILE_NAME}: {number_of(len(answers.certain), 'setting')}")
        report = _lint(context, flags, least)
        answers = answers_to(report.findings, context.settings(**flags))
        rounds -= 1
    context.console.show(report.findings)
    context.console.data("\n".join(_lines(answers)))
    certain, choices, optional = answers
    context.console.say(
        f"{_summary(report)}; {number_of(len(certain), 'setting')} to write, {number_of(len(choices), 'choice')} to make"
    )
    _say_unlocked(report, context)
    members = {"settings": certain, "choices": choices, "optional": optional}
    result = {**report.result, **{name: _json(each) for name, each in members.items()}}
    return report.replace(result=result)


def _lines(answers: "Answers") -> Iterator[str]:
    """Yield each group of answers as lines of contrast.toml; what is left to the user is commented out."""
    from contrast_tasks.settings.edit import tables_text

    if answers.certain:
        yield tables_text(answers.certain)
    heads = {
        "Something is lost or guessed by these, so nobody but you can write them:": answers.choices,
        "Warnings, which may stay as they are, would be answered by these:": answers.optional,
    }
    for head, changes in heads.items():
        if changes:
            lines = tables_text(changes).splitlines()
            yield f"# {head}\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _json(changes: Sequence["Change"]) -> list[dict[str, Any]]:
    return [{**each._asdict(), "path": list(each.path)} for each in changes]
