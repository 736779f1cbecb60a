"""docs/reference/findings.md: every finding of the catalogue."""

import json
from pathlib import Path

from contrast_tasks.catalogue import ENTRIES, Entry
from dev.reference.markdown import NOTICE, prose

INTRODUCTION = """\
# Findings

A finding has a stable code and the name of its rule: `web.yml:87: error[G030 memory-limit]: ...`. Codes that begin with G and W are about
Kubernetes objects, M about the manifest. An error prevents outputs from being written; warnings and notes do not.

What a vendor's YAML has is answered in `contrast.toml`, so that nobody edits it: `contrast-tasks lint --fix` shows the lines, `lint --fix --write` writes
them. Warnings and notes can be ignored with a reason, by code or rule, and of the errors those that say so:

```toml
[[lint.ignore]]
rule = "mesh-ingress-absent"
workloads = "monitoring/*"
reason = "scraped from outside of the mesh"
```
"""


def heading(entry: Entry) -> str:
    """Return the heading of an entry's section, which `contrast_tasks.report.sarif` links to."""
    return f"{entry.code} {entry.rule}"


def _answer(entry: Entry) -> list[str]:
    """Return the paragraph on the setting that answers an entry's findings, and whether they can be ignored."""
    said = []
    answer = entry.answer
    if answer is not None:
        table = '`[workloads."..."]`'
        value = "" if answer.value is None else f" = {json.dumps(answer.value)}"
        where = f" under {table}" if answer.is_in_workload else ""
        where += " or `[defaults]`" * answer.is_for_all
        written = "`lint --fix` writes it"
        if answer.value is None:
            written += " where the value follows from the finding"
            written = written if answer.is_in_workload else "you know the value"
        if answer.is_choice:
            written = "something is lost or guessed by it, so `lint --fix` only shows it"
        said.append(f"In contrast.toml: `{answer.key}{value}`{where}; {written}.")
    elif entry.why_none:
        said.append(f"No setting answers it: {prose(entry.why_none)}.")
    if entry.can_be_ignored:
        said.append("It can be ignored with a reason: `[[lint.ignore]]`.")
    return ["", " ".join(said)] if said else []


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
            *_answer(entry),
        ]
    return "\n".join(lines) + "\n"
