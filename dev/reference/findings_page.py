"""docs/reference/findings.md: every finding the code can make, by code and rule."""

from pathlib import Path

from dev.reference.catalogue import Kind, catalogue
from dev.reference.markdown import NOTICE, code, prose, table
from dev.reference.meanings import MEANINGS

INTRODUCTION = """\
# Findings

A finding has a stable code and a rule, which says the same in words: `web.yml:87: error[G030 memory-limit]: ...`. Codes that begin with G and W
are about Kubernetes objects, M about the manifest, S about files with a JSON Schema. An error keeps outputs from being written; a warning or a
note does not.
"""


def kinds(root: Path) -> list[Kind]:
    """Return the findings the code of the project can make."""
    return catalogue([root / "contrast_tasks", root / "coordinator"])


def render_findings(root: Path) -> str:
    """Return the page."""
    rows = [
        (
            kind.code,
            code(kind.rule),
            " or ".join(kind.severities),
            prose(MEANINGS.get((kind.code, kind.rule), "")),
        )
        for kind in kinds(root)
    ]
    lines = [NOTICE, "", *INTRODUCTION.splitlines(), ""]
    lines += table(("code", "rule", "severity", "means"), rows)
    return "\n".join(lines) + "\n"
