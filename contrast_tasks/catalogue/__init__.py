"""The catalogue of findings: each code and rule with its severity, what it means and what to do.

A check names an entry by its identifier, as `catalogue.MEMORY_LIMIT`. The shown text, SARIF rules and
docs/reference/findings.md come from here, and a finding of anything else cannot be made.
"""

from collections.abc import Mapping

from contrast_tasks.catalogue.entry import Entry, Severity
from contrast_tasks.catalogue.manifest import *  # noqa: F403  # one namespace for all entries
from contrast_tasks.catalogue.mesh import *  # noqa: F403
from contrast_tasks.catalogue.pods import *  # noqa: F403
from contrast_tasks.catalogue.sources import *  # noqa: F403

ENTRIES: Mapping[tuple[str, str], Entry] = {
    (entry.code, entry.rule): entry
    for entry in sorted(value for value in globals().values() if isinstance(value, Entry))
}
"""Every entry by code and rule, in that order."""


def entry_of(code: str, rule: str) -> Entry:
    """Return the entry of a code and rule; raises KeyError if there is none."""
    return ENTRIES[code, rule]


__all__ = ["ENTRIES", "Entry", "Severity", "entry_of"]
