"""Findings as SARIF 2.1.0 for code scanning.

`results` is always there, also when empty: an upload without it is refused. Source: OASIS SARIF 2.1.0, 3.14.23.
"""

from typing import Any
from urllib.parse import quote

from contrast_tasks import __version__
from contrast_tasks.errors import Location
from contrast_tasks.files import pretty_json
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.model import Failure, Report

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {Severity.NOTE: "note", Severity.WARNING: "warning", Severity.ERROR: "error"}


def _location(where: Location) -> dict[str, Any]:
    region = {
        key: value
        for key, value in (("startLine", where.line), ("startColumn", where.column))
        if value is not None
    }
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(where.file), "uriBaseId": "%SRCROOT%"},
            **({"region": region} if region else {}),
        }
    }


def _result(finding: Finding, rules: list[str]) -> dict[str, Any]:
    text = f"{finding.message}; {finding.hint}" if finding.hint else finding.message
    return {
        "ruleId": finding.code,
        "ruleIndex": rules.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": text},
        "locations": [_location(finding.where)],
    }


def _notification(failure: Failure) -> dict[str, Any]:
    text = f"{failure.message}; {failure.hint}" if failure.hint else failure.message
    return {
        "level": "error",
        "message": {"text": text},
        **({"locations": [_location(failure.where)]} if failure.where else {}),
    }


def render_sarif(report: Report) -> bytes:
    """Return one run; errors that are not findings are tool execution notifications."""
    names = {finding.code: finding.rule for finding in report.findings}
    rules = sorted(names)
    notifications = [
        _notification(failure) for failure in report.failures if not failure.is_findings
    ]
    run = {
        "tool": {
            "driver": {
                "name": "contrast-tasks",
                "version": __version__,
                "rules": [{"id": code, "name": names[code]} for code in rules],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not notifications,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": [_result(finding, rules) for finding in report.findings],
    }
    return pretty_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})
