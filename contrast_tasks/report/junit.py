"""The outcome as JUnit XML: one test case per task, one failing test case per finding or error."""

import re
from xml.sax.saxutils import escape, quoteattr

from contrast_tasks.findings import Severity
from contrast_tasks.report.model import Report

# XML 1.0 "Char": what may not stand in a document, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("?", text))


def render_junit(report: Report) -> bytes:
    """Return one test suite; warnings and notes are cases that pass, with their text in system-out."""
    cases: list[str] = []
    failed = errors = skipped = 0
    for step in report.steps:
        inner = ""
        if step.status == "not-run":
            skipped += 1
            inner = "<skipped/>"
        cases.append(f'<testcase classname="task" name={_attribute(step.name)}>{inner}</testcase>')
    for finding in report.findings:
        name = f"{finding.code} {finding.rule} {finding.where}"
        text = f"{finding.message}\n{finding.hint}".rstrip()
        if finding.severity is Severity.ERROR:
            failed += 1
            inner = f"<failure message={_attribute(finding.message)}>{_text(text)}</failure>"
        else:
            inner = f"<system-out>{_text(f'{finding.severity.value}: {text}')}</system-out>"
        cases.append(f'<testcase classname="finding" name={_attribute(name)}>{inner}</testcase>')
    for failure in report.failures:
        if failure.is_findings:
            continue
        errors += 1
        text = f"{failure.message}\n{failure.hint}".rstrip()
        inner = f"<error message={_attribute(failure.message)}>{_text(text)}</error>"
        name = failure.task or report.command
        cases.append(f'<testcase classname="error" name={_attribute(name)}>{inner}</testcase>')
    head = (
        f'<testsuite name={_attribute("contrast-tasks " + report.command)} tests="{len(cases)}"'
        f' failures="{failed}" errors="{errors}" skipped="{skipped}">'
    )
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", head, *cases]
    return "\n".join([*lines, "</testsuite>", "</testsuites>", ""]).encode()
