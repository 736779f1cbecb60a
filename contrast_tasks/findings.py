"""Findings: what a check has to say about a user's file, with a stable code and the place it speaks of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from contrast_tasks.errors import FindingsError, Location


class Severity(Enum):
    """How bad it is; the order is note, warning, error."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0, 1 or 2."""
        return ("note", "warning", "error").index(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One statement of one check.

    code: stable, as in the catalogues (G0.., M0.., W1..); rule: the same in words, as `memory-limit`.
    message: what was found and what was wanted, lower case, no full stop; hint: what to do next.
    """

    code: str
    rule: str
    severity: Severity
    message: str
    where: Location
    hint: str = ""

    def __str__(self) -> str:
        """Return `file:line: severity[code rule]: message`, the hint on an indented line of its own."""
        head = f"{self.where}: {self.severity.value}[{self.code} {self.rule}]: {self.message}"
        return f"{head}\n  hint: {self.hint}" if self.hint else head

    def to_json(self) -> dict[str, Any]:
        """Return the form of schemas/findings.schema.json; absent members are left out."""
        place = {
            "file": self.where.file,
            "line": self.where.line,
            "column": self.where.column,
            "pointer": self.where.pointer or None,
        }
        return {
            "code": self.code,
            "rule": self.rule,
            "severity": self.severity.value,
            "message": self.message,
            "where": {key: value for key, value in place.items() if value is not None},
            **({"hint": self.hint} if self.hint else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Finding":
        """Read back what `to_json` wrote."""
        return cls(
            code=document["code"],
            rule=document["rule"],
            severity=Severity(document["severity"]),
            message=document["message"],
            where=Location(**document["where"]),
            hint=document.get("hint", ""),
        )


def sort_key(finding: Finding) -> tuple[str, int, int, str, str]:
    """Return the order findings are shown in: by file, line, column, code, message."""
    where = finding.where
    return (where.file, where.line or 0, where.column or 0, finding.code, finding.message)


def raise_errors(findings: Iterable[Finding]) -> None:
    """Raise FindingsError with all findings if at least one of them is an error."""
    ordered = sorted(findings, key=sort_key)
    if any(finding.severity is Severity.ERROR for finding in ordered):
        raise FindingsError(ordered)
