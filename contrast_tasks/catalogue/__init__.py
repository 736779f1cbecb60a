"""The catalogue of findings: the severity, meaning and remedy of each code and rule.

Checks name an entry by its identifier, such as `catalogue.MEMORY_LIMIT`. SARIF rules and docs/reference/findings.md are
made from the entries, and every finding has one of them.
"""

from collections.abc import Mapping

from contrast_tasks.catalogue.entry import Answer, Entry, Severity
from contrast_tasks.catalogue.manifest import *  # noqa: F403  # one namespace for all entries
from contrast_tasks.catalogue.mesh import *  # noqa: F403
from contrast_tasks.catalogue.pods import *  # noqa: F403
from contrast_tasks.catalogue.resources import *  # noqa: F403
from contrast_tasks.catalogue.sources import *  # noqa: F403

ENTRIES: Mapping[tuple[str, str], Entry] = {
    (entry.code, entry.rule): entry
    for entry in sorted(value for value in globals().values() if isinstance(value, Entry))
}
"""All entries by (code, rule), sorted."""

__all__ = ["ENTRIES", "Answer", "Entry", "Severity"]
