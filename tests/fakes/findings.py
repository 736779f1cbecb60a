"""Findings of each severity, for tests of what is done with them."""

from contrast_tasks import catalogue
from contrast_tasks.errors import Location
from contrast_tasks.findings import Finding, Severity

_ENTRIES = {
    Severity.NOTE: catalogue.MESH_UNUSED_EGRESS,
    Severity.WARNING: catalogue.NOT_CONFIDENTIAL,
    Severity.ERROR: catalogue.MEMORY_LIMIT,
}


def finding(
    severity: Severity = Severity.ERROR,
    message: str = "found a",
    *,
    hint: str = "",
    where: Location | None = None,
) -> Finding:
    return Finding(_ENTRIES[severity], where or Location(file="a.yml", line=1), message, hint)
