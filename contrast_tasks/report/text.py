"""Findings and errors as text for the terminal. Colour never carries information of its own."""

from collections.abc import Callable, Mapping
from typing import Protocol

from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.hints import PROGRAM, as_called
from contrast_tasks.report.model import Failure, Report, counted

# Further lines are only counted, so that a large change does not fill the screen.
LINES_SHOWN = 40
_PATHS_NAMED = 4


# Control characters but tab and newline, and marks that turn the direction of writing: a terminal would obey them.
CONTROL = {
    **{code: f"\\x{code:02x}" for code in (*range(9), *range(0x0B, 0x20), *range(0x7F, 0xA0))},
    **{
        code: f"\\u{code:04x}"
        for code in (0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))
    },
}
# Of those the ones that stand in JSON and XML as they are; both have escapes of their own for them.
_JSON = {code: f"\\u{code:04x}" for code in CONTROL if code >= 0x7F}  # noqa: PLR2004  # DEL
_XML = {code: f"&#{code};" for code in _JSON}
# How lines begin, or what is in them, that services of CI carry out when they see them in a log.
_COMMAND = r"^(\s*):(?=:)|#(?=#(?:\[|vso\[|teamcity\[))"


def shown(text: str) -> str:
    """Return text of files and peers with escapes for what a terminal or the log of a CI service would carry out.

    Source: ECMA-48; the workflow commands of GitHub (`::name::`, `##[name]`), the logging commands of Azure Pipelines
    (`##vso[`) and the service messages of TeamCity (`##teamcity[`).
    """
    return _without_commands(text.translate(CONTROL), lambda character: f"\\x{ord(character):02x}")


def shown_json(text: str) -> str:
    """Return a JSON text with the same value that a terminal or the log of a CI service may show; see `shown`."""
    return _without_commands(text.translate(_JSON), lambda character: f"\\u{ord(character):04x}")


def shown_xml(text: str) -> str:
    """Return an XML text with the same value that a terminal or the log of a CI service may show; see `shown`."""
    return _without_commands(text.translate(_XML), lambda character: f"&#{ord(character)};")


def _without_commands(text: str, escape: Callable[[str], str]) -> str:
    """Return a text in which one character of each command to a service is escaped."""
    if "::" not in text and "##" not in text:
        return text
    import re

    return re.sub(
        _COMMAND, lambda found: f"{found[0][:-1]}{escape(found[0][-1])}", text, flags=re.MULTILINE
    )


def _shown_place(where: Location) -> str:
    """Return a place on one line: a file's name may hold a newline, after which anything could seem to be said by us."""
    return shown(str(where).replace("\n", "\\n"))


class _Terminal(Protocol):
    def isatty(self) -> bool: ...


_COLOURS = {Severity.ERROR: "31", Severity.WARNING: "33", Severity.NOTE: "36"}


def wants_colour(choice: str, environ: Mapping[str, str], stream: _Terminal) -> bool:
    """Return whether to use colour.

    choice: `auto`, `always` or `never`. `auto` obeys NO_COLOR and TERM=dumb first, then FORCE_COLOR and CLICOLOR_FORCE;
    otherwise colour is used on a terminal.
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR") or environ.get("TERM") == "dumb":
        return False
    is_forced = any(
        environ.get(name, "0") not in ("", "0") for name in ("FORCE_COLOR", "CLICOLOR_FORCE")
    )
    return is_forced or stream.isatty()


def _label(severity: Severity, *, colour: bool) -> str:
    label = severity.value
    return f"\x1b[{_COLOURS[severity]}m{label}\x1b[0m" if colour else label


def _with_hint(head: str, hint: str) -> str:
    return f"{head}\n{_hint_line(hint)}" if hint else head


def _hint_line(hint: str) -> str:
    return f"  hint: {shown(as_called(hint))}"


def finding_line(finding: Finding, *, colour: bool = False) -> str:
    """Return `file:line: severity[code rule]: message`, and the hint on a line of its own."""
    severity = _label(finding.severity, colour=colour)
    where, message = _shown_place(finding.where), shown(finding.message)
    head = f"{where}: {severity}[{finding.code} {finding.rule}]: {message}"
    return _with_hint(head, finding.hint)


def failure_line(failure: Failure, *, colour: bool = False) -> str:
    """Return `file:line: error: message` or `contrast-tasks: error: message`, and the hint on a line of its own."""
    error = _label(Severity.ERROR, colour=colour)
    place = _shown_place(failure.where) if failure.where else PROGRAM
    head = f"{place}: {error}: {shown(failure.message)}"
    return _with_hint(head, failure.hint)


def closing_lines(report: Report, *, colour: bool = False) -> list[str]:
    """Return the errors, and one line that counts the findings."""
    # Several tasks may fail for the same reason.
    lines = list(
        dict.fromkeys(failure_line(failure, colour=colour) for failure in report.other_failures)
    )
    hints = [failure.hint for failure in report.failures if failure.is_findings]
    if hints:
        error = _label(Severity.ERROR, colour=colour)
        lines.append(f"{PROGRAM}: {error}: {counted(report.findings)}{shown(_written(report))}")
        said = {"", *(finding.hint for finding in report.findings)}
        lines.extend(_hint_line(hint) for hint in dict.fromkeys(hints) if hint not in said)
    return lines


def _written(report: Report) -> str:
    """Return what the tasks of a failed run have written, "" for a command without tasks."""
    if not report.steps:
        return ""
    paths = sorted({path for step in report.steps for path in step.wrote_outside_state})
    if not paths:
        return ", nothing was written"
    if len(paths) > _PATHS_NAMED:
        return f", {len(paths)} files were written"
    return f", only {' and '.join(paths)} {'was' if len(paths) == 1 else 'were'} written"
