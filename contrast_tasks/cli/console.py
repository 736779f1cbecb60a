"""A command's output: data on stdout, messages on stderr, in the form that the user chose."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TextIO

from contrast_tasks.cli.streams import put
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.model import Report, Step

if TYPE_CHECKING:
    from contrast_tasks.cli.progress import Bar
    from contrast_tasks.progress import Progress

# Each form with the module that renders a report; text is shown immediately instead.
FORMS = {
    "text": "",
    "json": "document",
    "events": "events",
    "sarif": "sarif",
    "junit": "junit",
    "github": "github",
    "gitlab": "gitlab",
}


# What services set whose logs are read for commands: most of them, Azure Pipelines, TeamCity.
_LOGS = ("CI", "TF_BUILD", "TEAMCITY_VERSION")


class Console:
    """The output of one command line.

    form: one of FORMS; json, sarif, junit and gitlab are one document at the end, events is a stream of lines.
    """

    def __init__(
        self,
        *,
        form: str = "text",
        colour: str = "auto",
        quiet: bool = False,
        environ: Mapping[str, str] | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        from contrast_tasks.report.text import wants_colour

        self.form = form
        self.quiet = quiet
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
        self._shown: set[Finding] = set()
        self._bar: Bar | None = None
        self._environ = os.environ if environ is None else environ
        self.colour = wants_colour(colour, self._environ, self._stderr)

    @property
    def is_text(self) -> bool:
        """Return whether the output is for people."""
        return self.form in ("text", "github")

    def say(self, line: str) -> None:
        """Write a message for people to stderr, unless --quiet."""
        if self.is_text and not self.quiet:
            from contrast_tasks.report.text import shown

            self._put(self._stderr, f"{shown(line)}\n")

    def data(self, text: str) -> None:
        """Write the command's result for people to stdout; the other forms have it in the document.

        What is read by somebody is free of control characters; a file or a program gets the text as it is.
        """
        if self.is_text:
            is_logged = any(self._environ.get(name) for name in _LOGS)
            if self.form == "github" or is_logged or self._stdout.isatty():
                from contrast_tasks.report.text import shown

                text = shown(text)
            self._put(self._stdout, text)

    def _put(self, stream: TextIO, text: str) -> None:
        """Write what is for people, on a terminal above a bar that shows progress."""
        if self._bar is None or not stream.isatty() or not self._bar.write(text):
            put(stream, text)

    @contextlib.contextmanager
    def progress(self, verb: str, total: int, unit: str) -> "Iterator[Progress]":
        """Show how far a work is while the context lasts, to people and if it takes longer than a second.

        verb: what is being done, as "resolving"; total: of how many; unit: what one of them is, as "image".
        """
        if not self.is_text or self.quiet or not total:
            from contrast_tasks.progress import unseen

            with unseen(verb, total, unit) as progress:
                yield progress
            return
        from contrast_tasks.cli.progress import Bar, PlainLines, Work, has_bars

        work = Work(verb, total, unit)
        if not has_bars(self._stderr, self._environ.get("TERM", "")):
            PlainLines(work, self.say)
            yield work
            return
        shown = self._bar = Bar(work, self._stderr)
        try:
            yield work
        finally:
            self._bar = None
            shown.close()

    def _bytes(self, content: bytes) -> None:
        from contrast_tasks.report.text import shown_json, shown_xml

        text = content.decode()
        if not self.is_text:
            text = shown_xml(text) if self.form == "junit" else shown_json(text)
        put(self._stdout, text)

    def show(self, findings: Iterable[Finding]) -> None:
        """Show findings to people now; `end` does not repeat them."""
        if not self.is_text:
            return
        from contrast_tasks.report.text import finding_line

        for finding in findings:
            is_wanted = not self.quiet or finding.severity is Severity.ERROR
            if is_wanted and finding not in self._shown:
                self._shown.add(finding)
                self._put(self._stderr, f"{finding_line(finding, colour=self.colour)}\n")

    def begin(self, command: str) -> None:
        """Begin the event stream."""
        if self.form == "events":
            from contrast_tasks.report.events import render_begin

            self._bytes(render_begin(command))

    def step(self, step: Step) -> None:
        """Write the line of a finished task to the event stream."""
        if self.form == "events":
            from contrast_tasks.report.events import render_step

            self._bytes(render_step(step))

    def end(self, report: Report) -> None:
        """Write the report in the chosen form; for people write findings and errors to stderr."""
        if self.is_text:
            from contrast_tasks.report.text import closing_lines

            self.show(report.findings)
            for line in closing_lines(report, colour=self.colour):
                put(self._stderr, f"{line}\n")
            self._shown.clear()
        if module := FORMS[self.form]:
            renderer = importlib.import_module(f"contrast_tasks.report.{module}")
            self._bytes(renderer.render(report))
