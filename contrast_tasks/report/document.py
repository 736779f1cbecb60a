"""The JSON document of a command: versioned, with failures, and always with the same members."""

from contrast_tasks.files import pretty_json
from contrast_tasks.report.model import VERSION, Report


def render(report: Report) -> bytes:
    """Return the document of schemas/report.schema.json as indented UTF-8 with one newline at the end."""
    return pretty_json(
        {
            "version": VERSION,
            "command": report.command,
            "exit_code": report.exit_code,
            "findings": [finding.to_json() for finding in report.findings],
            "errors": [failure.to_json() for failure in report.failures],
            "tasks": [step.to_json() for step in report.steps],
            "result": dict(report.result),
        }
    )
