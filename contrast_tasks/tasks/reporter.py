"""doit's reporter protocol, turned into steps, findings and errors.

One class serves both faces: our own command line hands in a listener, plain doit constructs it with a stream and
gets the text form.
"""

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any, Protocol

from contrast_tasks.errors import ContrastError, MissingReferenceValues
from contrast_tasks.findings import Finding, FindingsError
from contrast_tasks.report.model import Failure, Report, Status, Step, sorted_findings
from contrast_tasks.report.text import closing_lines, finding_line, shown
from contrast_tasks.tasks.actions import Failed
from contrast_tasks.tasks.outcome import read_outcome


def _end_on_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Bug(ContrastError):
    """An unexpected exception; `traceback` is shown, since it is a bug of ours."""

    exit_code = 1

    def __init__(self, message: str, *, traceback: str) -> None:
        super().__init__(message)
        self.traceback = traceback


class Listener(Protocol):
    """Receives the events of a run as they happen."""

    def started(self, name: str) -> None:
        """Receive the begin of a task."""

    def finished(self, step: Step, values: dict[str, Any]) -> None:
        """Receive the end of a task, with the result of its action."""

    def skipped(self, name: str) -> None:
        """Receive the name of a task that is up to date."""


class Reporter:
    """Collects the run; `steps`, `errors` and `findings` are complete after `complete_run`.

    outstream: where plain doit wants the text; options: doit's, unused.
    """

    desc = "one line per thing that changed"

    def __init__(
        self,
        outstream: Any = None,
        options: dict[str, Any] | None = None,
        *,
        listener: Listener | None = None,
    ) -> None:
        del options
        self._stream = outstream
        self._listener = listener
        self.steps: list[Step] = []
        self.errors: list[ContrastError] = []
        self._failures: list[Failure] = []
        self._began: dict[str, float] = {}
        self._outcome = ""

    @property
    def _is_plain(self) -> bool:
        return self._listener is None and self._stream is not None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return the findings of all failed checks, sorted."""
        found: list[Finding] = []
        for error in self.errors:
            if isinstance(error, FindingsError):
                found.extend(error.findings)
        return sorted_findings(found)

    def failures(self) -> tuple[Failure, ...]:
        """Return the errors in the order they happened."""
        return tuple(self._failures)

    def _finish(self, task: Any, status: Status, wrote: tuple[str, ...] = ()) -> None:
        if not task.actions:
            return
        now = time.perf_counter()
        seconds = now - self._began.pop(task.name, now)
        step = Step(name=task.name, status=status, wrote=wrote, seconds=seconds)
        self.steps.append(step)
        if self._listener is not None:
            self._listener.finished(step, dict(task.values))
        elif self._stream is not None:
            for path in step.wrote_outside_state:
                self._stream.write(f"wrote {shown(path)}\n")
            for line in task.values.get("warnings") or ():
                self._stream.write(f"warning: {shown(line)}\n")

    def initialize(self, tasks: Any, selected_tasks: Any) -> None:
        """Let SIGTERM end a run of plain doit as Ctrl-C does: finished tasks are recorded, and workers are ended.

        Our own command line does so itself, and tells the two apart.
        """
        del tasks, selected_tasks
        if self._is_plain:
            # The signal that ends a worker must not be lost in its queues.
            if hasattr(os, "register_at_fork"):  # elsewhere workers are not forked
                os.register_at_fork(after_in_child=_end_on_sigterm)
            with contextlib.suppress(ValueError):  # in a thread signals are the caller's
                signal.signal(signal.SIGTERM, signal.default_int_handler)

    def get_status(self, task: Any) -> None:
        """Do nothing; called before a task is checked."""

    def execute_task(self, task: Any) -> None:
        """Note the time, and tell the listener."""
        self._began[task.name] = time.perf_counter()
        if self._listener is not None and task.actions:
            self._listener.started(task.name)

    def add_success(self, task: Any) -> None:
        """Record a task that ran."""
        self._outcome = task.values.get("outcome") or self._outcome
        wrote = task.values.get("wrote")
        paths = tuple(wrote) if isinstance(wrote, list | tuple) else ()
        changed = bool(paths) or not isinstance(wrote, list | tuple)
        self._finish(task, "changed" if changed else "unchanged", paths)

    def skip_uptodate(self, task: Any) -> None:
        """Record a task that had nothing to do; groups have no action and are left out."""
        # Asking for task.actions would build them all, which a no-op can do without.
        if task._actions:  # noqa: SLF001  # doit's own lazy attribute
            self.steps.append(Step(name=task.name, status="up-to-date"))
            if self._listener is not None:
                self._listener.skipped(task.name)

    def skip_ignore(self, task: Any) -> None:
        """Record a task the user told doit to ignore."""
        self._finish(task, "not-run")

    def add_failure(self, task: Any, fail: Any) -> None:
        """Record a failed task; a task that waited for it is `not-run` and has no message."""
        kind = fail.get_name()
        if kind == "UnmetDependency":
            self._finish(task, "not-run")
            return
        if isinstance(fail, Failed):
            error: ContrastError = fail.error
            # Of findings nobody wants to know which line of ours found them.
            trace = "" if isinstance(error, FindingsError) else fail.trace
        else:
            trace = text = "".join(fail.traceback)
            last = text.strip().rpartition("\n")[2]
            error = Bug(f"{fail.message.strip()}: {last}".rstrip(": "), traceback=text)
        self._failed(error, task.name, trace)
        self._finish(task, "failed")

    def teardown_task(self, task: Any) -> None:
        """Do nothing; our tasks have no teardown."""

    def cleanup_error(self, exception: Any) -> None:
        """Record a failed teardown."""
        self._bug(exception.get_msg())

    def runtime_error(self, msg: str) -> None:
        """Record an error of doit itself, such as a cycle."""
        self._bug(msg)

    def _bug(self, message: str) -> None:
        self._failed(Bug(message.strip(), traceback=""))

    def _failed(self, error: ContrastError, task: str = "", trace: str = "") -> None:
        self.errors.append(error)
        self._failures.append(Failure.of(error, task, trace))

    def complete_run(self) -> None:
        """Write the closing lines for plain doit: what was found, errors, or that there was nothing to do."""
        if not self._is_plain:
            return
        findings, failures = self.findings, self.failures()
        if not failures and self._outcome:
            findings, _ = read_outcome(Path(self._outcome))
        missing = [
            finding
            for error in self.errors
            if isinstance(error, MissingReferenceValues)
            for finding in error.missing
        ]
        findings = sorted_findings([*findings, *missing])
        report = Report(command="doit", findings=findings, failures=failures)
        lines = [*map(finding_line, findings), *closing_lines(report)]
        if not lines and all(step.status == "up-to-date" for step in self.steps):
            lines = ["up to date"]
        for line in lines:
            self._stream.write(f"{line}\n")
        for error in self.errors:
            if isinstance(error, Bug):
                self._stream.write(shown(error.traceback))
