"""Findings and errors as GitHub workflow commands, which become annotations on the changed lines.

Source: "Workflow commands for GitHub Actions": percent, CR and LF are encoded everywhere, colon and comma in properties.
"""

from contrast_tasks.errors import Location
from contrast_tasks.findings import Severity
from contrast_tasks.report.model import Report

_COMMANDS = {Severity.NOTE: "notice", Severity.WARNING: "warning", Severity.ERROR: "error"}


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _command(command: str, title: str, text: str, where: Location | None) -> str:
    members = [("title", title)]
    if where is not None:
        members = [
            ("file", where.file),
            *((("line", str(where.line)),) if where.line else ()),
            *((("col", str(where.column)),) if where.column else ()),
            *members,
        ]
    properties = ",".join(f"{key}={_property(value)}" for key, value in members)
    return f"::{command} {properties}::{_data(text)}\n"


def render_github(report: Report) -> bytes:
    """Return one line per finding and per error that is not a finding."""
    lines = []
    for finding in report.findings:
        text = f"{finding.message}\n{finding.hint}".rstrip()
        title = f"{finding.code} {finding.rule}"
        lines.append(_command(_COMMANDS[finding.severity], title, text, finding.where))
    for failure in report.failures:
        if not failure.is_findings:
            text = f"{failure.message}\n{failure.hint}".rstrip()
            lines.append(_command("error", "contrast-tasks", text, failure.where))
    return "".join(lines).encode()
