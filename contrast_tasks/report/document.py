"""The one JSON document of a command: versioned, failures included, the same members always."""

from typing import Any

from contrast_tasks.errors import Location
from contrast_tasks.files import pretty_json
from contrast_tasks.report.model import VERSION, Failure, Report, Step


def place_to_json(where: Location) -> dict[str, Any]:
    """Return the members of a place that are known."""
    place = {
        "file": where.file,
        "line": where.line,
        "column": where.column,
        "pointer": where.pointer or None,
    }
    return {key: value for key, value in place.items() if value is not None}


def failure_to_json(failure: Failure) -> dict[str, Any]:
    """Return the form of schemas/report.schema.json."""
    return {
        "kind": failure.kind,
        "message": failure.message,
        "exit_code": failure.exit_code,
        **({"hint": failure.hint} if failure.hint else {}),
        **({"where": place_to_json(failure.where)} if failure.where else {}),
        **({"task": failure.task} if failure.task else {}),
    }


def step_to_json(step: Step) -> dict[str, Any]:
    """Return the form of schemas/report.schema.json."""
    return {
        "name": step.name,
        "status": step.status,
        **({"wrote": list(step.wrote)} if step.wrote else {}),
    }


def document_of(report: Report) -> dict[str, Any]:
    """Return the report as JSON values; valid against schemas/report.schema.json."""
    return {
        "version": VERSION,
        "command": report.command,
        "exit_code": report.exit_code,
        "findings": [finding.to_json() for finding in report.findings],
        "errors": [failure_to_json(failure) for failure in report.failures],
        "tasks": [step_to_json(step) for step in report.steps],
        "result": dict(report.result),
    }


def render_json(report: Report) -> bytes:
    """Return the document as indented UTF-8 with one newline at the end."""
    return pretty_json(document_of(report))
