"""The outcome as JUnit XML: one test case per task, finding and error."""

import re
from xml.sax.saxutils import escape, quoteattr

from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.hints import PROGRAM
from contrast_tasks.report.model import Failure, Report, with_hint

# XML 1.0, "Char": characters that a document cannot hold, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))


def _case(kind: str, name: str, inner: str = "", seconds: float = 0) -> str:
    return f'<testcase classname="{kind}" name={_attribute(name)} time="{seconds:.3f}">{inner}</testcase>'


def _fault(element: str, found: Finding | Failure) -> str:
    text = _text(with_hint(found, "\n"))
    return f"<{element} message={_attribute(found.message)}>{text}</{element}>"


def _verdict(finding: Finding) -> str:
    if finding.severity is Severity.ERROR:
        return _fault("failure", finding)
    text = f"{finding.severity.value}: " + with_hint(finding, "\n")
    return f"<system-out>{_text(text)}</system-out>"


def render(report: Report) -> bytes:
    """Return one test suite; warnings and notes are passing cases with their text in system-out."""
    waiting = [step.status == "not-run" for step in report.steps]
    failed = [finding.severity is Severity.ERROR for finding in report.findings]
    errors = report.other_failures
    cases = [
        *(
            _case("task", step.name, "<skipped/>" if is_waiting else "", step.seconds)
            for step, is_waiting in zip(report.steps, waiting, strict=True)
        ),
        *(
            _case("finding", f"{finding.code} {finding.rule} {finding.where}", _verdict(finding))
            for finding in report.findings
        ),
        *(
            _case("error", failure.task or report.command, _fault("error", failure))
            for failure in errors
        ),
    ]
    head = (
        f'<testsuite name={_attribute(f"{PROGRAM} {report.command}")} tests="{len(cases)}"'
        f' failures="{sum(failed)}" errors="{len(errors)}" skipped="{sum(waiting)}"'
        f' time="{sum(step.seconds for step in report.steps):.3f}">'
    )
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", head, *cases]
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""]).encode()
