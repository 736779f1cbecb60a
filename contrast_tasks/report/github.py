"""Findings and errors as GitHub workflow commands, which GitHub shows as annotations on the changed lines.

Source: "Workflow commands for GitHub Actions": percent, CR and LF are escaped everywhere, colon and comma in properties.
"""

from contrast_tasks.errors import Location
from contrast_tasks.findings import Severity
from contrast_tasks.report.hints import PROGRAM
from contrast_tasks.report.model import Report, in_checkout, with_place
from contrast_tasks.report.text import CONTROL

_COMMANDS = {Severity.NOTE: "notice", Severity.WARNING: "warning", Severity.ERROR: "error"}


def _data(text: str) -> str:
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return escaped.translate(CONTROL)


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _command(command: str, title: str, text: str, where: Location | None) -> str:
    members = [("title", title)]
    if where is not None:
        where = where.in_repository
        members = [
            ("file", in_checkout(where.file)),
            *((("line", str(where.line)),) if where.line else ()),
            *((("col", str(where.column)),) if where.column else ()),
            *members,
        ]
    properties = ",".join(f"{key}={_property(value)}" for key, value in members)
    return f"::{command} {properties}::{_data(text)}\n"


def render(report: Report) -> bytes:
    """Return one line per finding and per error that is not a finding."""
    lines = [
        _command(
            _COMMANDS[finding.severity],
            f"{finding.code} {finding.rule}",
            with_place(finding, "\n"),
            finding.where,
        )
        for finding in report.findings
    ]
    lines += [
        _command("error", PROGRAM, with_place(failure, "\n"), failure.where)
        for failure in report.other_failures
    ]
    return "".join(lines).encode()
