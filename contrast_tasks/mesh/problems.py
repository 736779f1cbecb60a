"""Where a finding on a mesh annotation stands and how it reads, for `generate` and for the sidecar."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from contrast_tasks.catalogue import Entry
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.findings import Finding, Findings, Severity

# The key of an annotation, or a path inside the pod spec.
Spot = str | tuple[str | int, ...]


class MeshError(UsageError):
    """Mesh annotations that cannot be carried out; carries every error."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        message = "; ".join(finding.message for finding in findings)
        super().__init__(message, hint=findings[0].hint)
        self.findings = tuple(findings)


@contextmanager
def collected(findings: Findings[Spot] | None) -> Iterator[Findings[Spot]]:
    """Yield the caller's findings; without any yield new ones, whose errors are raised as MeshError at the end."""
    if findings is not None:
        yield findings
        return
    found = Findings[Spot](lambda spot: Location(file=str(spot)))
    yield found
    errors = [finding for finding in found if finding.severity is Severity.ERROR]
    if errors:
        raise MeshError(errors)


@dataclass(frozen=True, slots=True)
class Place:
    """One annotation, or one entry of it counted from 1, that findings are about."""

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
    ) -> None:
        """Note what is found and wanted in a field of the entry, as `listen port`.

        spot: where it stands, by default at the annotation.
        """
        place = self.key
        if self.number is not None:
            place += f" entry {self.number}"
        if field:
            place += f" {field}"
        message = f"{place}: found {found}, expected {wanted}"
        self.findings.report(entry, spot or self.key, message, hint, is_milder=is_milder)
