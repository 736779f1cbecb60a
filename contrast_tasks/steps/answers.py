"""The lines of contrast.toml that answer findings: each finding has its own, and what many need is said once for all."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from contrast_tasks.findings import Finding, Severity
from contrast_tasks.settings.edit import Change
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import workload_key

# The setting by which the data of a claim are lost, whatever it answers.
_LOSES = "empty_dirs"


class Answers(NamedTuple):
    """What to write, and what users have to decide since something is lost or guessed; optional: for warnings, which may stay."""

    certain: tuple[Change, ...]
    choices: tuple[Change, ...]
    optional: tuple[Change, ...]


def answers_to(findings: Iterable[Finding], settings: Settings) -> Answers:
    """Return the answers to findings; to notes those alone by which nothing is lost."""
    certain: dict[tuple[str, ...], list[Finding]] = {}
    choices: dict[tuple[str, ...], list[Finding]] = {}
    optional: dict[tuple[str, ...], list[Finding]] = {}
    known = [finding for finding in findings if is_answered(finding)]
    shared = _shared(known, settings)
    for finding in known:
        answer = finding.answer
        if answer is not None:
            path = answer.path
            is_shared = (path[-1], repr(answer.value)) in shared
            if is_shared and not _says_otherwise(settings, *path[1:]):
                path = ("defaults", path[-1])
            kept = certain
            if _is_choice(finding):
                kept = choices if finding.severity is Severity.ERROR else optional
            kept.setdefault(path, []).append(finding)
    # What an error needs is said once.
    optional = {path: found for path, found in optional.items() if path not in choices}
    return Answers(*(tuple(_changes(each)) for each in (certain, choices, optional)))


def is_answered(finding: Finding) -> bool:
    """Return whether a finding has an answer that is shown: choices are not for notes."""
    if finding.answer is None or finding.entry.answer is None:
        return False
    return finding.severity is not Severity.NOTE or not _is_choice(finding)


def _is_choice(finding: Finding) -> bool:
    loses = finding.answer is not None and finding.answer.path[-1] == _LOSES
    return loses or (finding.entry.answer is not None and finding.entry.answer.is_choice)


def _shared(findings: Iterable[Finding], settings: Settings) -> set[tuple[str, str]]:
    """Return key and value of the answers that may be given for all, and that several workloads need."""
    needed: dict[tuple[str, str], set[str]] = {}
    for finding in findings:
        answer, entry = finding.answer, finding.entry.answer
        if answer is None or entry is None or not entry.is_for_all or len(answer.path) != 3:  # noqa: PLR2004  # workloads, its key, the setting
            continue
        needed.setdefault((answer.path[-1], repr(answer.value)), set()).add(answer.path[1])
    return {
        (key, value)
        for (key, value), names in needed.items()
        if len(names) > 1 and getattr(settings.for_all, key) is None
    }


def _says_otherwise(settings: Settings, workload: str, key: str) -> bool:
    """Return whether a table of the workload, or a pattern, wins over what [defaults] would say."""
    declared = settings.workload(workload)
    return declared is not None and getattr(declared, key) is not None


def _changes(found: dict[tuple[str, ...], list[Finding]]) -> Iterator[Change]:
    for path, findings in sorted(
        found.items(), key=lambda each: (each[0][0] != "defaults", each[0])
    ):
        value: Any = None
        for finding in findings:
            if finding.answer is not None:
                new = finding.answer.value
                value = (
                    [*value, *(each for each in new if each not in value)]
                    if isinstance(value, list)
                    else new
                )
        named = (path[0], workload_key(path[1]), *path[2:])
        yield Change(named, value, _why(findings))


def _why(findings: Sequence[Finding]) -> str:
    """Return one line on the findings: what they mean, and where the first of them is."""
    meanings = dict.fromkeys(each.entry.meaning for each in findings)
    first, *others = dict.fromkeys(str(each.where) for each in findings)
    more = f" and {len(others)} more" if others else ""
    return f"{'; '.join(meanings)} ({first}{more})"
