"""One entry of the catalogue of findings, and how bad a finding can be."""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """How bad it is; the order is note, warning, error."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0, 1 or 2."""
        return ("note", "warning", "error").index(self.value)


class Entry(NamedTuple):
    """Everything that is the same for all findings of one code and rule.

    milder: the second severity, if it depends on the case. meaning: one sentence. hint: what to do, shown with a
    finding that has no hint of its own. advice: what to do, also where each finding says it more closely.
    """

    code: str
    rule: str
    severity: Severity
    milder: Severity | None
    meaning: str
    hint: str
    advice: str

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Return the severities its findings can have, the worst first."""
        return (self.severity,) if self.milder is None else (self.severity, self.milder)


def define(head: str, meaning: str, hint: str = "", *, advice: str = "") -> Entry:
    """Return the entry that `head` names with code, rule and severity, as `G030 memory-limit error`.

    Two severities are written as `error|warning`. advice: by default the hint.
    """
    code, rule, severities = head.split()
    usual, _, second = severities.partition("|")
    milder = Severity(second) if second else None
    return Entry(code, rule, Severity(usual), milder, meaning, hint, advice or hint)
