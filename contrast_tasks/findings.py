"""Findings: what a check reports about a user's file, with catalogue entry and location."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from contrast_tasks.catalogue import ENTRIES, Entry, Severity
from contrast_tasks.catalogue.entry import REMOVE
from contrast_tasks.errors import ContrastError, Location
from contrast_tasks.records import Record

__all__ = [
    "Finding",
    "Findings",
    "FindingsError",
    "Setting",
    "Severity",
    "raise_errors",
    "sort_key",
    "worst_exit_code",
]

Place = TypeVar("Place")


class Setting(NamedTuple):
    """A key of contrast.toml, by its tables, and a value for it."""

    path: tuple[str, ...]
    value: Any


class Finding(Record):
    """One statement of one check.

    entry: what all findings of this code and rule have in common.
    message: what was found and what was wanted, lower case, no full stop; hint: what to do next.
    is_milder: use the milder of the entry's two severities. _answer: what answers it in contrast.toml, None if nothing is known.
    """

    entry: Entry
    where: Location
    message: str
    hint: str
    is_milder: bool
    _answer: Setting | None

    def __init__(
        self,
        entry: Entry,
        where: Location,
        message: str,
        hint: str | None = None,
        *,
        is_milder: bool = False,
        answer: Setting | None = None,
    ) -> None:
        """Make a finding. hint: None takes the hint of the entry.

        Raises ValueError if the entry is not in the catalogue, or is_milder and the entry has only one severity.
        """
        if ENTRIES.get((entry.code, entry.rule)) != entry:
            raise ValueError(f"{entry.code} {entry.rule} is not in the catalogue")
        if is_milder and entry.milder is None:
            raise ValueError(f"{entry.code} {entry.rule} has one severity")
        super().__init__(
            entry=entry,
            where=where,
            message=message,
            hint=entry.hint if hint is None else hint,
            is_milder=is_milder,
            _answer=answer,
        )

    @property
    def answer(self) -> Setting | None:
        """Return the setting that answers it."""
        return self._answer

    @property
    def code(self) -> str:
        """Return the stable code, as `G030`."""
        return self.entry.code

    @property
    def rule(self) -> str:
        """Return the rule's name, as `memory-limit`."""
        return self.entry.rule

    @property
    def severity(self) -> Severity:
        """Return the severity that applies."""
        return self.entry.milder if self.is_milder and self.entry.milder else self.entry.severity

    def __str__(self) -> str:
        """Return `file:line: severity[code rule]: message`, the hint on an indented line of its own."""
        head = f"{self.where}: {self.severity.value}[{self.code} {self.rule}]: {self.message}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/findings.schema.json; absent members are left out."""
        return {
            "code": self.code,
            "rule": self.rule,
            "severity": self.severity.value,
            "message": self.message,
            "where": self.where.to_json(),
            **({"hint": self.hint} if self.hint else {}),
            **({"answer": self._answer._asdict()} if self._answer else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Finding":
        """Read what `to_json` wrote. Raises KeyError if code and rule are not in the catalogue."""
        entry = ENTRIES[document["code"], document["rule"]]
        answer = document.get("answer")
        return cls(
            entry,
            Location(**document["where"]),
            document["message"],
            document.get("hint", ""),
            is_milder=document["severity"] != entry.severity.value,
            answer=answer and Setting(tuple(answer["path"]), answer["value"]),
        )


class Findings(list[Finding], Generic[Place]):
    """The findings of the checks of one document.

    locate: returns the location of a place in the document. subject: prefix of every message, as `Deployment/web`. field: returns
    the name of a place as contrast.toml has it, `containers.web.tty`.
    """

    def __init__(
        self,
        locate: Callable[[Place], Location],
        subject: str = "",
        field: Callable[[Place], str] | None = None,
    ) -> None:
        self._locate = locate
        self._subject = subject
        self._lead = f"{subject}: " if subject else ""
        self._field = field

    def report(
        self,
        entry: Entry,
        place: Place,
        message: str,
        hint: str | None = None,
        *,
        is_milder: bool = False,
        answer: tuple[str, Any] | None = None,
    ) -> None:
        """Add a finding; the arguments are those of Finding, but for the answer: dotted key of the subject's table, and value.

        Without one it is that of the entry, if that has a value.
        """
        where, text = self._locate(place), f"{self._lead}{message}"
        setting = self._setting(entry, place, answer)
        self.append(Finding(entry, where, text, hint, is_milder=is_milder, answer=setting))

    def _setting(
        self, entry: Entry, place: Place, answer: tuple[str, Any] | None
    ) -> Setting | None:
        if answer is None and entry.answer is not None and entry.answer.is_in_workload:
            value = entry.answer.value
            if entry.answer == REMOVE:
                name = self._field(place) if self._field is not None else ""
                value = [name] if name else None
            answer = (entry.answer.key, value)
        if not self._subject or answer is None or answer[1] is None:
            return None
        return Setting(("workloads", self._subject, *answer[0].split(".")), answer[1])


class FindingsError(ContrastError):
    """Checks of user files found something; carries every finding, not only the first."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        count = len(findings)
        super().__init__(f"{count} finding{'' if count == 1 else 's'}")
        self.findings = tuple(findings)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # depends on the worst finding
        """Return 10 for notes, 11 for warnings, 12 for errors, by the worst finding."""
        return max(10, worst_exit_code(self.findings))


def worst_exit_code(findings: Iterable[Finding]) -> int:
    """Return 10, 11 or 12 for the worst finding, 0 for none."""
    return max((10 + finding.severity.rank for finding in findings), default=0)


def sort_key(finding: Finding) -> tuple[str, int, int, str, str]:
    """Return the key by which findings are sorted: file, line, column, code, message."""
    where = finding.where
    return (where.file, where.line or 0, where.column or 0, finding.code, finding.message)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise FindingsError with all findings if at least one of them is an error."""
    ordered = sorted(findings, key=sort_key)
    if any(finding.severity is Severity.ERROR for finding in ordered):
        raise FindingsError(ordered)
