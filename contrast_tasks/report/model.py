"""The outcome of a command, from which text, JSON, SARIF, JUnit, annotations and GitLab's report are rendered."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from contrast_tasks.errors import ContrastError, Location
from contrast_tasks.findings import Finding, FindingsError, Severity, sort_key
from contrast_tasks.records import Record

# Members are only added within 1.x; readers refuse another major version.
VERSION = "1.0"

Status = Literal["changed", "unchanged", "up-to-date", "failed", "not-run"]


class Step(Record):
    """One task of the run.

    status: `changed` wrote other bytes than before, `unchanged` ran and wrote the same, `not-run` waited for a failed
        one. wrote: the files with new bytes, relative to the project. seconds: how long it ran; no two runs have the same, so
        it is in JUnit's form only.
    """

    name: str
    status: Status
    wrote: tuple[str, ...] = ()
    seconds: float = 0

    @property
    def wrote_outside_state(self) -> tuple[str, ...]:
        """Return the files that a user looks at, without those below .contrast/."""
        return tuple(path for path in self.wrote if not path.startswith(".contrast/"))

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/report.schema.json; absent members are left out."""
        wrote = {"wrote": list(self.wrote)} if self.wrote else {}
        return {"name": self.name, "status": self.status, **wrote}


class Failure(Record):
    """One error that ended a task or the command.

    kind: name of the error's class; reason: one word for machines, of the Coordinator or of evidence, "" for none. is_findings: the error only stands for findings, which the report has too. trace: for
    `--debug`, in no form of the report.
    """

    kind: str
    message: str
    exit_code: int
    hint: str = ""
    reason: str = ""
    where: Location | None = None
    task: str = ""
    is_findings: bool = False
    trace: str = ""

    @classmethod
    def of(cls, error: ContrastError, task: str = "", trace: str = "") -> "Failure":
        """Return the failure an error stands for."""
        return cls(
            kind=type(error).__name__,
            message=str(error),
            exit_code=error.exit_code,
            hint=error.hint,
            reason=getattr(error, "reason", ""),
            where=error.where,
            task=task,
            is_findings=isinstance(error, FindingsError),
            trace=trace,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/report.schema.json; absent members are left out."""
        return {
            "kind": self.kind,
            "message": self.message,
            "exit_code": self.exit_code,
            **({"hint": self.hint} if self.hint else {}),
            **({"reason": self.reason} if self.reason else {}),
            **({"where": self.where.to_json()} if self.where else {}),
            **({"task": self.task} if self.task else {}),
        }


class Report(Record):
    """The outcome of one command line.

    findings: those of all checks, sorted; result: the command's own result, JSON values only.
    """

    command: str
    exit_code: int = 0
    findings: tuple[Finding, ...] = ()
    failures: tuple[Failure, ...] = ()
    steps: tuple[Step, ...] = ()
    result: Mapping[str, Any] = {}

    @classmethod
    def of_error(
        cls, command: str, error: ContrastError, result: Mapping[str, Any] | None = None
    ) -> "Report":
        """Return the report of a command that ended with an error."""
        findings = error.findings if isinstance(error, FindingsError) else ()
        return cls(
            command=command,
            exit_code=error.exit_code,
            findings=sorted_findings(findings),
            failures=(Failure.of(error),),
            result=result or {},
        )

    @property
    def other_failures(self) -> tuple[Failure, ...]:
        """Return the failures that are more than their findings."""
        return tuple(failure for failure in self.failures if not failure.is_findings)


def with_hint(found: Finding | Failure, joint: str) -> str:
    """Return the message, and the hint if there is one, joined by `joint`."""
    return f"{found.message}{joint}{found.hint}" if found.hint else found.message


def with_place(found: Finding | Failure, joint: str) -> str:
    """Return the message and the hint for who shows it in a repository, with the place that the repository does not have."""
    text, where = with_hint(found, joint), found.where
    return text if where is None or where.in_repository is where else f"{where}: {text}"


def sorted_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings sorted for display, each once."""
    return tuple(sorted(dict.fromkeys(findings), key=sort_key))


def exit_code_of(errors: Sequence[ContrastError]) -> int:
    """Return the exit code of a run that ended with these errors; 0 without any.

    All FindingsErrors count as one with the worst severity. Of several kinds the first decides, because later errors
    mostly follow from it. A bug of ours (1) decides always.
    """
    if not errors:
        return 0
    codes = [error.exit_code for error in errors]
    if 1 in codes:
        return 1
    if isinstance(errors[0], FindingsError):
        return max(error.exit_code for error in errors if isinstance(error, FindingsError))
    return codes[0]


def number_of(count: int, noun: str) -> str:
    """Return `1 file`, or `2 files`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def counted(findings: Iterable[Finding]) -> str:
    """Return the number of findings by severity, as `2 errors, 1 warning`."""
    tally = Counter(finding.severity for finding in findings)
    worst_first = (Severity.ERROR, Severity.WARNING, Severity.NOTE)
    return ", ".join(
        number_of(tally[severity], severity.value) for severity in worst_first if tally[severity]
    )


def in_checkout(file: str) -> str:
    """Return a file of the project, which is the working directory, as GitHub and GitLab look for it: relative to what was checked out."""
    workspace = os.environ.get("GITHUB_WORKSPACE") or os.environ.get("CI_PROJECT_DIR")
    if not workspace or not Path.cwd().is_relative_to(Path(workspace).resolve()):
        return file
    return Path(os.path.relpath(file, Path(workspace).resolve())).as_posix()
