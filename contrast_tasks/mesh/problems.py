"""What can be wrong in a mesh annotation, and the collecting of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from contrast_tasks.errors import UsageError
from contrast_tasks.findings import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in one annotation.

    rule: stable, as E-MESH-PORT; entry counts from 1 and is None for the whole value; field: as `listen`.
    path: inside the pod spec, when the problem stands there and not in the annotation.
    """

    rule: str
    severity: Severity
    key: str
    entry: int | None = None
    field: str = ""
    found: str
    wanted: str
    hint: str = ""
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        """Return key, entry, field, found and wanted on one line."""
        place = self.key
        if self.entry is not None:
            place += f" entry {self.entry}"
        if self.field:
            place += f" {self.field}"
        return f"{place}: found {self.found}, expected {self.wanted}"


class MeshError(UsageError):
    """Mesh annotations that cannot be carried out; carries every problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(map(str, problems)), hint=problems[0].hint)
        self.problems = tuple(problems)


class Log:
    """Collects problems into the caller's list, or raises them at the end when there is none."""

    def __init__(self, problems: list[Problem] | None) -> None:
        self._raises = problems is None
        self.problems: list[Problem] = [] if problems is None else problems

    def close(self) -> None:
        """Raise MeshError with every error, unless the caller collects them."""
        errors = [entry for entry in self.problems if entry.severity is Severity.ERROR]
        if self._raises and errors:
            raise MeshError(errors)


@dataclass(frozen=True, slots=True)
class Place:
    """One annotation, or one entry of it counted from 1, that problems are noted for."""

    key: str
    entry: int | None
    log: Log

    def error(self, rule: str, field: str, found: str, wanted: str, hint: str = "") -> None:
        """Note something that cannot be carried out."""
        self._note(Severity.ERROR, rule, field, found=found, wanted=wanted, hint=hint)

    def warn(self, rule: str, field: str, found: str, wanted: str, hint: str = "") -> None:
        """Note something that works and is hardly meant."""
        self._note(Severity.WARNING, rule, field, found=found, wanted=wanted, hint=hint)

    def _note(
        self, severity: Severity, rule: str, field: str, *, found: str, wanted: str, hint: str
    ) -> None:
        self.log.problems.append(
            Problem(
                rule=rule,
                severity=severity,
                key=self.key,
                entry=self.entry,
                field=field,
                found=found,
                wanted=wanted,
                hint=hint,
            )
        )
