"""The form of a catalogue entry, and the severities."""

from enum import Enum
from typing import Any, NamedTuple


class Severity(Enum):
    """The severity of a finding."""

    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        """Return 0 for notes, 1 for warnings, 2 for errors."""
        return ("note", "warning", "error").index(self.value)


class Answer(NamedTuple):
    """The setting of contrast.toml that answers findings, as `lint --fix` writes it.

    key: dotted, of the workload's table unless it is one of all workloads; names in capitals are for the user's own. value: the
    right one, None if it differs. is_for_all: it changes nothing where it is not needed, so it may stand in [defaults].
    is_choice: something is lost or guessed, so that users decide. is_in_workload: the key is of [workloads."KEY"].
    """

    key: str
    value: Any = None
    is_for_all: bool = False
    is_choice: bool = False
    is_in_workload: bool = True


class Entry(NamedTuple):
    """What all findings of one code and rule have in common.

    milder: the lower severity that some of the findings have, None if all have the same. meaning: one sentence.
    hint: what to do, shown with findings that have no hint of their own. advice: what to do, in general. answer: the setting that
    answers them, None if there is none; why_none says then why an error can have none. can_be_ignored: although it is an error.
    """

    code: str
    rule: str
    severity: Severity
    milder: Severity | None
    meaning: str
    hint: str
    advice: str
    answer: Answer | None = None
    why_none: str = ""
    can_be_ignored: bool = False

    @property
    def severities(self) -> tuple[Severity, ...]:
        """Return the severities that its findings can have, the highest first."""
        return (self.severity,) if self.milder is None else (self.severity, self.milder)


def define(
    head: str,
    meaning: str,
    hint: str = "",
    *,
    advice: str = "",
    answer: Answer | None = None,
    why_none: str = "",
    can_be_ignored: bool = False,
) -> Entry:
    """Return an entry; arguments as its members.

    head: code, rule and severity, such as `G030 memory-limit error`; two severities are written `error|warning`.
    advice: by default the hint.
    """
    code, rule, severities = head.split()
    usual, _, second = severities.partition("|")
    milder = Severity(second) if second else None
    return Entry(
        code,
        rule,
        Severity(usual),
        milder,
        meaning,
        hint,
        advice or hint,
        answer,
        why_none,
        can_be_ignored,
    )


def of_project(key: str) -> Answer:
    """Return the answer by a key that is for the whole project, whose value only the user knows."""
    return Answer(key, is_in_workload=False)


KUBERNETES = "the API server refuses it too"
OURS = "only this tool reads it, so it is in no foreign file"
SETTINGS = "it is about contrast.toml itself"
LOCK = "'contrast-tasks lock' answers it"
FIT_MEMORY = Answer("fit_memory", value=True, is_for_all=True)
NO_CPU_LIMITS = Answer("cpu_limits", value=False, is_for_all=True)
REMOVE = Answer("remove", value=("FIELD",), is_choice=True)
