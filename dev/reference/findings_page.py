"""docs/reference/findings.md: every finding of the catalogue."""

from pathlib import Path

from contrast_tasks.catalogue import ENTRIES, Entry
from dev.reference.markdown import NOTICE, prose

INTRODUCTION = """\
# Findings

A finding has a stable code and the name of its rule: `web.yml:87: error[G030 memory-limit]: ...`. Codes that begin with G and W are about
Kubernetes objects, M about the manifest. An error prevents outputs from being written; warnings and notes do not.
"""


def heading(entry: Entry) -> str:
    """Return the heading of an entry's section, which `contrast_tasks.report.sarif` links to."""
    return f"{entry.code} {entry.rule}"


def render_findings(_: Path) -> str:
    """Return the page."""
    lines = [NOTICE, "", *INTRODUCTION.splitlines()]
    for entry in ENTRIES.values():
        severities = " or ".join(severity.value for severity in entry.severities)
        means, advice = prose(entry.meaning), prose(entry.advice)
        lines += [
            "",
            f"## {heading(entry)}",
            "",
            f"{severities}: {means}.",
            "",
            f"What to do: {advice}.",
        ]
    return "\n".join(lines) + "\n"
