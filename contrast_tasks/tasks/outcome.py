"""The findings of the last `generate`, read back from build/check.json."""

import json
from collections.abc import Sequence
from pathlib import Path

from contrast_tasks.errors import MissingReferenceValues
from contrast_tasks.findings import Finding
from contrast_tasks.report.model import number_of


def read_outcome(path: Path) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """Return the findings, and the missing values that only the user knows."""
    document = json.loads(path.read_bytes())
    found, missing = (
        tuple(Finding.from_json(finding) for finding in document[name])
        for name in ("findings", "missing")
    )
    return found, missing


def lacking(missing: Sequence[Finding]) -> MissingReferenceValues:
    """Return the error that a run with missing values ends with."""
    error = MissingReferenceValues(
        f"the manifest lacks {number_of(len(missing), 'value')} that only you can know",
        hint="fill them in under [reference_values] of contrast.toml; everything else is written",
    )
    error.missing = missing
    return error
