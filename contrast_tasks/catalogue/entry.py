"""The form of a catalogue entry, and the severities."""

from enum import Enum
from typing import NamedTuple


class Severity(Enum):
    """The severity of a finding."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0 for notes, 1 for warnings, 2 for errors."""
        return ("note", "warning", "error").index(self.value)


class Entry(NamedTuple):
    """What all findings of one code and rule have in common.

    milder: the lower severity that some of the findings have, None if all have the same. meaning: one sentence.
    hint: what to do, shown with findings that have no hint of their own. advice: what to do, in general.
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
        """Return the severities that its findings can have, the highest first."""
        return (self.severity,) if self.milder is None else (self.severity, self.milder)


def define(head: str, meaning: str, hint: str = "", *, advice: str = "") -> Entry:
    """Return an entry.

    head: code, rule and severity, such as `G030 memory-limit error`; two severities are written `error|warning`.
    advice: by default the hint.
    """
    code, rule, severities = head.split()
    usual, _, second = severities.partition("|")
    milder = Severity(second) if second else None
    return Entry(code, rule, Severity(usual), milder, meaning, hint, advice or hint)
