"""The event stream: one JSON object per line; the first has the version, the last the exit code."""

from typing import Any

from contrast_tasks.files import canonical_json
from contrast_tasks.report.model import VERSION, Report, Step


def _line(event: str, **members: Any) -> bytes:
    return canonical_json({"event": event, **members}) + b"\n"


def render_begin(command: str) -> bytes:
    """Return the first line, with the version."""
    return _line("begin", version=VERSION, command=command)


def render_step(step: Step) -> bytes:
    """Return the line of one finished task."""
    return _line("task", **step.to_json())


def render(report: Report) -> bytes:
    """Return the last lines: findings, errors, the result and the exit code."""
    lines = [_line("finding", finding=finding.to_json()) for finding in report.findings]
    lines += [_line("error", error=failure.to_json()) for failure in report.failures]
    lines.append(_line("end", exit_code=report.exit_code, result=dict(report.result)))
    return b"".join(lines)
