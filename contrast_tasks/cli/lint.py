"""`lint`: show every finding about the sources without writing to the build directory."""

import argparse

from contrast_tasks.cli import generate
from contrast_tasks.cli.context import Context
from contrast_tasks.findings import FindingsError, Severity, worst_exit_code
from contrast_tasks.report.model import (
    Report,
    counted,
    exit_code_of,
    number_of,
    sorted_findings,
)

EXAMPLE = "lint --output sarif > findings.sarif"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    generate.configure_project(parser)
    severities = [severity.value for severity in Severity]
    parser.add_argument(
        "--fail-on",
        choices=severities,
        default=Severity.ERROR.value,
        metavar="SEVERITY",
        help=f"exit with 0 unless there are findings of this severity or a worse one: {', '.join(severities)}",
    )


def run(arguments: argparse.Namespace, context: Context) -> Report:
    """Check the sources; the exit code is that of the worst finding, 10 note, 11 warning, 12 error, if it counts."""
    from contrast_tasks.tasks.face import load_tasks
    from contrast_tasks.tasks.pipeline import passed_findings
    from contrast_tasks.tasks.run import run_tasks

    workspace = context.workspace(**generate.flags_of(arguments, context))
    run = run_tasks(load_tasks(workspace), ["sources", "lock", "workload"])
    reporter = run.reporter
    found = [*reporter.findings, *passed_findings(workspace)]
    findings = sorted_findings(workspace.in_files(found))
    workspace.prune()
    others = [error for error in reporter.errors if not isinstance(error, FindingsError)]
    failures = tuple(failure for failure in reporter.failures() if not failure.is_findings)
    count = len(workspace.project.index.workloads)
    least = Severity(arguments.fail_on).rank
    fatal = [finding for finding in findings if finding.severity.rank >= least]
    context.console.show(findings)
    context.console.say(
        f"{number_of(count, 'workload')} checked, {counted(findings) or 'nothing found'}"
    )
    return Report(
        command="lint",
        exit_code=exit_code_of(others) or worst_exit_code(fatal),
        findings=findings,
        failures=failures,
        steps=tuple(reporter.steps),
        result={"workloads": count},
    )
