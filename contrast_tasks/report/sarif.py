"""Findings as SARIF 2.1.0 for code scanning, with one rule for each catalogue entry that occurs.

`results` is written even if empty: GitHub refuses an upload without it. `helpUri` must be absolute, so the link into
docs/reference/findings.md is part of the help text. Source: OASIS SARIF 2.1.0, 3.14.23 (results), 3.49 (rules).
"""

from html import escape
from typing import Any
from urllib.parse import quote

from contrast_tasks import __version__
from contrast_tasks.catalogue import Entry
from contrast_tasks.errors import Location
from contrast_tasks.files import pretty_json
from contrast_tasks.report.hints import PROGRAM
from contrast_tasks.report.model import Report, in_checkout, with_place

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_PAGE = "docs/reference/findings.md"


def _rule_id(entry: Entry) -> str:
    return f"{entry.code}/{entry.rule}"


def _rule(entry: Entry) -> dict[str, Any]:
    section = f"{_PAGE}#{entry.code.lower()}-{entry.rule}"
    return {
        "id": _rule_id(entry),
        "name": entry.rule,
        "shortDescription": {"text": entry.meaning},
        "fullDescription": {"text": f"{entry.meaning}; what to do: {entry.advice}"},
        "help": {
            "text": f"{entry.advice} (see {section})",
            "markdown": f"{escape(entry.advice, quote=False)} ([{_PAGE}]({section}))",
        },
        "defaultConfiguration": {"level": entry.severity.value},
    }


def _location(found: Location) -> dict[str, Any]:
    where = found.in_repository
    region = {
        key: value
        for key, value in (("startLine", where.line), ("startColumn", where.column))
        if value is not None
    }
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": quote(in_checkout(where.file)), "uriBaseId": "%SRCROOT%"},
            **({"region": region} if region else {}),
        }
    }


def render(report: Report) -> bytes:
    """Return a log with one run; errors that are not findings are tool execution notifications."""
    entries = {_rule_id(finding.entry): finding.entry for finding in report.findings}
    ids = sorted(entries)
    notifications = [
        {
            "level": "error",
            "message": {"text": with_place(failure, "; ")},
            **({"locations": [_location(failure.where)]} if failure.where else {}),
        }
        for failure in report.other_failures
    ]
    results = [
        {
            "ruleId": _rule_id(finding.entry),
            "ruleIndex": ids.index(_rule_id(finding.entry)),
            # SARIF's levels have the names of our severities.
            "level": finding.severity.value,
            "message": {"text": with_place(finding, "; ")},
            "locations": [_location(finding.where)],
        }
        for finding in report.findings
    ]
    run = {
        "tool": {
            "driver": {
                "name": PROGRAM,
                "version": __version__,
                "rules": [_rule(entries[name]) for name in ids],
            }
        },
        "invocations": [
            {
                "executionSuccessful": not notifications,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": notifications,
            }
        ],
        "results": results,
    }
    return pretty_json({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]})
