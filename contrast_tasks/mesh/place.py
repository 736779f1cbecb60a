"""The place and message of findings on mesh annotations."""

from typing import Any

from contrast_tasks.catalogue import Entry
from contrast_tasks.findings import Findings
from contrast_tasks.records import Record

# The key of an annotation, or a path inside the pod spec.
Spot = str | tuple[str | int, ...]


class Place(Record, kw_only=False):
    """One annotation, or one of its entries; number: counts from 1."""

    key: str
    number: int | None
    findings: Findings[Spot]

    def report(
        self,
        entry: Entry,
        field: str,
        found: str,
        wanted: str,
        hint: str | None = None,
        *,
        is_milder: bool = False,
        spot: Spot = "",
        answer: tuple[str, Any] | None = None,
    ) -> None:
        """Add a finding on a field of the entry, such as `listen port`.

        spot: its place, by default that of the annotation. answer: as that of `Findings.report`.
        """
        number = "" if self.number is None else f" entry {self.number}"
        place = f"{self.key}{number} {field}".rstrip()
        message = f"{place}: found {found}, expected {wanted}"
        self.findings.report(
            entry, spot or self.key, message, hint, is_milder=is_milder, answer=answer
        )
