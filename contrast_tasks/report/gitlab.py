"""Findings as GitLab's Code Quality report, which a merge request shows at the changed lines and compares with that of its target.

A fingerprint is of what is found and in which file, not of the line, so that a finding which only moved is neither new nor fixed.
Source: GitLab's documentation, "Code Quality report format".
"""

from collections import Counter
from typing import Any

from contrast_tasks.errors import Location
from contrast_tasks.files import pretty_json, sha256_hex
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.model import Failure, Report, in_checkout, with_hint, with_place

_SEVERITIES = {Severity.NOTE: "info", Severity.WARNING: "minor", Severity.ERROR: "major"}
# An entry needs a place; what is wrong with no file in particular is shown at the settings.
_NOWHERE = Location(file="contrast.toml")


def render(report: Report) -> bytes:
    """Return the list; errors that are not findings are in it, as `blocker`."""
    found: list[tuple[str, str, Finding | Failure, Location]] = [
        (f"{each.code}/{each.rule}", _SEVERITIES[each.severity], each, each.where)
        for each in report.findings
    ]
    found += [
        (each.kind, "blocker", each, each.where or _NOWHERE) for each in report.other_failures
    ]
    seen: Counter[str] = Counter()
    entries: list[dict[str, Any]] = []
    for name, severity, each, place in found:
        where, text = place.in_repository, with_hint(each, "; ")
        path = in_checkout(where.file)
        # Of several that differ in their lines only each has its number.
        key = f"{name}\0{path}\0{text}"
        seen[key] += 1
        entries.append(
            {
                "description": with_place(each, "; "),
                "check_name": name,
                "fingerprint": sha256_hex(f"{key}\0{seen[key]}".encode()),
                "severity": severity,
                "location": {"path": path, "lines": {"begin": where.line or 1}},
            }
        )
    return pretty_json(entries)
