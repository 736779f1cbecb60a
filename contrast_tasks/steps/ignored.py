"""Findings that contrast.toml says need no answer: `[[lint.ignore]]`, each with its reason."""

from collections.abc import Iterable, Iterator

from contrast_tasks import catalogue
from contrast_tasks.catalogue import ENTRIES, Entry, Severity
from contrast_tasks.errors import did_you_mean
from contrast_tasks.findings import Finding
from contrast_tasks.settings.model import Settings
from contrast_tasks.settings.workloads import Ignore, parse_key


def can_be_ignored(entry: Entry) -> bool:
    """Return whether findings may be left unanswered: none by which a pod would be denied or its policy mean less."""
    return entry.severity is not Severity.ERROR or entry.can_be_ignored or entry.milder is not None


def forgiven(findings: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Return findings with those errors made notes that are to be ignored."""
    if not settings.ignored:
        return list(findings)
    return [
        finding.replace(is_milder=True)
        if finding.entry.can_be_ignored and any(_is_for(each, finding) for each in settings.ignored)
        else finding
        for finding in findings
    ]


def ignored_errors(settings: Settings) -> list[Ignore]:
    """Return the entries by which errors may be no errors."""
    if not settings.ignored:
        return []
    rules = {name for entry in ENTRIES.values() if entry.can_be_ignored for name in entry[:2]}
    return [each for each in settings.ignored if each.rule in rules]


def without_ignored(findings: Iterable[Finding], settings: Settings) -> list[Finding]:
    """Return the findings that are to be shown; an error always is."""
    if not settings.ignored:
        return list(findings)
    return [
        finding
        for finding in findings
        if finding.severity is Severity.ERROR
        or not any(_is_for(each, finding) for each in settings.ignored)
    ]


def unused(findings: Iterable[Finding], settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each entry that is for none of the findings, which are all but those on the manifest."""
    found = list(findings)
    for each in settings.ignored:
        is_used = any(_is_for(each, finding) for finding in found)
        of_manifest = [
            entry for entry in ENTRIES.values() if _names(each, entry) and entry.code[0] == "M"
        ]
        if not is_used and not of_manifest and not _fault(each):
            yield Finding(
                catalogue.UNUSED_SETTING,
                settings.where("lint.ignore"),
                f"lint.ignore has {each.rule} for {each.workloads}, which nothing is found of",
            )


def refused(settings: Settings) -> Iterator[Finding]:
    """Yield a finding for each entry that names no finding, or one that must not be ignored."""
    for each in settings.ignored:
        if fault := _fault(each):
            message, hint = fault
            yield Finding(catalogue.IGNORE_REFUSED, settings.where("lint.ignore"), message, hint)


def _fault(ignore: Ignore) -> tuple[str, str | None] | None:
    chosen = [entry for entry in ENTRIES.values() if _names(ignore, entry)]
    if not chosen:
        known = sorted({name for entry in ENTRIES.values() for name in (entry.code, entry.rule)})
        message = f"lint.ignore has {ignore.rule}, expected the code or the rule of a finding"
        return message, did_you_mean(ignore.rule, known) or None
    if not any(map(can_be_ignored, chosen)):
        return (
            f"lint.ignore has {ignore.rule}, expected a finding by which no pod is denied or less protected",
            None,
        )
    return None


def _names(ignore: Ignore, entry: Entry) -> bool:
    return ignore.rule in (entry.code, entry.rule)


def _is_for(ignore: Ignore, finding: Finding) -> bool:
    if not _names(ignore, finding.entry):
        return False
    if ignore.workloads == "*":
        return True
    # A finding of one workload begins with its key.
    name = finding.message.split(" ")[0].rstrip(":")
    return "/" in name and parse_key(ignore.workloads).matches(parse_key(name))
