"""One entry of the catalogue of findings, and how bad a finding can be."""

from enum import Enum


class Severity(Enum):
    """How bad it is; the order is note, warning, error."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0, 1 or 2."""
        return ("note", "warning", "error").index(self.value)


class Entry:
    """Everything that is the same for all findings of one code and rule.

    head: code, rule and severity, as `G030 memory-limit error`; two severities, as `error|warning`, if it depends on
        the case. meaning: one sentence. hint: what to do, shown with a finding that has no hint of its own.
    advice: what to do, where each finding says it more closely or it goes without saying.
    """

    __slots__ = ("advice", "code", "hint", "meaning", "milder", "rule", "severity")

    def __init__(self, head: str, meaning: str, hint: str = "", *, advice: str = "") -> None:
        self.code, self.rule, severities = head.split()
        usual, _, milder = severities.partition("|")
        self.severity = Severity(usual)
        self.milder = Severity(milder) if milder else None
        self.meaning = meaning
        self.hint = hint
        self.advice = advice or hint

    def __repr__(self) -> str:
        return f"<{self.code} {self.rule}>"

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Return the severities its findings can have, the worst first."""
        return (self.severity,) if self.milder is None else (self.severity, self.milder)
