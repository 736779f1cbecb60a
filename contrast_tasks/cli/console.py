"""Where a command speaks: data on stdout, conversation on stderr, in the form the user asked for."""

import importlib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TextIO

from contrast_tasks.cli.streams import put
from contrast_tasks.findings import Finding, Severity
from contrast_tasks.report.model import Report, Step

# Each form with the module that renders a report in it; text is shown as it comes.
FORMS = {
    "text": "",
    "json": "document",
    "events": "events",
    "sarif": "sarif",
    "junit": "junit",
    "github": "github",
}


class Console:
    """One command line's voice.

    form: one of FORMS; json, sarif and junit are one document at the end, events is a stream of lines.
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
        environ = os.environ if environ is None else environ
        self.colour = wants_colour(colour, environ, self._stderr)

    @property
    def is_text(self) -> bool:
        """Return whether people read along."""
        return self.form in ("text", "github")

    def say(self, line: str) -> None:
        """Tell people something on stderr; silent when a machine reads, or with --quiet."""
        if self.is_text and not self.quiet:
            put(self._stderr, f"{line}\n")

    def data(self, text: str) -> None:
        """Write what the command was asked for to stdout; in the machine forms it is part of the document instead."""
        if self.is_text:
            put(self._stdout, text)

    def _bytes(self, content: bytes) -> None:
        put(self._stdout, content.decode())

    def show(self, findings: Iterable[Finding]) -> None:
        """Show findings to people now; `end` leaves out what was shown."""
        if not self.is_text:
            return
        from contrast_tasks.report.text import finding_line

        for finding in findings:
            is_wanted = not self.quiet or finding.severity is Severity.ERROR
            if is_wanted and finding not in self._shown:
                self._shown.add(finding)
                put(self._stderr, f"{finding_line(finding, colour=self.colour)}\n")

    def begin(self, command: str) -> None:
        """Open the stream of lines."""
        if self.form == "events":
            from contrast_tasks.report.events import render_begin

            self._bytes(render_begin(command))

    def step(self, step: Step) -> None:
        """Write the line of a finished task to the stream."""
        if self.form == "events":
            from contrast_tasks.report.events import render_step

            self._bytes(render_step(step))

    def end(self, report: Report) -> None:
        """Write the report in the chosen form; findings and errors go to stderr where people read."""
        if self.is_text:
            from contrast_tasks.report.text import closing_lines

            self.show(report.findings)
            for line in closing_lines(report, colour=self.colour):
                put(self._stderr, f"{line}\n")
        if module := FORMS[self.form]:
            renderer = importlib.import_module(f"contrast_tasks.report.{module}")
            self._bytes(renderer.render(report))
