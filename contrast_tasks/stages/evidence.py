"""Look at evidence in files: what it says, whether a manifest accepts it, and whether a whole index of vectors comes out as listed."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from contrast_tasks.errors import Location, UsageError

INDEX_NAME = "vectors.json"
_INDENT = "  "
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTotals:
    """How many checks of an index came out as expected, and how many did not."""

    passed: int
    failed: int


def show_evidence(path: Path) -> dict[str, Any]:
    """Return what a file of evidence says; raises EvidenceRejected if it is nothing we know."""
    from contrast_tasks.attestation.describe import describe

    return describe(_read(path))


def text_lines(description: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield a description as indented lines, one member each; booleans as yes and no."""
    for name, value in description.items():
        label = f"{_INDENT * depth}{name}"
        if isinstance(value, Mapping):
            yield f"{label}:"
            yield from text_lines(value, depth + 1)
        elif isinstance(value, bool):
            yield f"{label}: {'yes' if value else 'no'}"
        elif isinstance(value, list):
            yield f"{label}: {', '.join(map(str, value)) or 'none'}"
        else:
            yield f"{label}: {'none' if value in (None, '') else value}"


def check_vectors(folder: Path, *, roots: Path | None, say: Say) -> CheckTotals:
    """Run every check of `folder`/vectors.json; says a line per check and the totals, `N passed, N failed`.

    roots: a folder of root certificates that takes the place of those that ship with the package.
    """
    from contrast_tasks.attestation.trust_roots import bundled_roots, roots_from
    from contrast_tasks.attestation.vector_checks import run_checks

    index_path = folder / INDEX_NAME
    try:
        index = json.loads(_read(index_path))
    except ValueError as err:
        raise UsageError("it is not JSON", where=Location(file=str(index_path))) from err
    trusted = bundled_roots() if roots is None else roots_from(_certificate_files(roots))
    passed = failed = 0
    for result in run_checks(index, lambda name: _read(folder / name), trusted):
        passed, failed = passed + result.passed, failed + (not result.passed)
        verdict = "ok" if result.passed else "FAILED"
        expected = " ".join(filter(None, (result.expected, result.expected_reason)))
        found = " ".join(filter(None, (result.found, result.found_reason)))
        say(
            f"{verdict} {result.vector} {result.check} at {result.at}: expected {expected}, found {found}"
        )
        if not result.passed and result.detail:
            say(f"{_INDENT}{result.detail}")
    say(f"{passed} passed, {failed} failed")
    return CheckTotals(passed=passed, failed=failed)


def verify_evidence(
    path: Path, *, manifest: Path, report_data_hex: str | None, offline: bool, now: datetime
) -> dict[str, Any]:
    """Return a description of evidence that one reference value of a manifest accepts.

    report_data_hex: the 64 bytes it must bind; None takes those of the evidence itself, so nothing is said about whom it
    was made for. Raises EvidenceRejected with the first failing check of each reference value.
    """
    from contrast_tasks.attestation.judge import judge_document
    from contrast_tasks.manifest.codec import parse_manifest
    from contrast_tasks.stages.endorsements import open_endorsements

    return judge_document(
        _read(path),
        parse_manifest(_read(manifest), file=str(manifest)),
        report_data=_report_data(report_data_hex),
        endorsements=open_endorsements(offline=offline),
        now=now,
    )


def _report_data(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        value = bytes.fromhex(text)
    except ValueError as err:
        raise UsageError(f"report data is not hex: {text!r}") from err
    if len(value) != 64:  # noqa: PLR2004  # REPORT_DATA
        raise UsageError(f"report data has {len(value)} bytes, wanted 64")
    return value


def _certificate_files(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise UsageError("there is no such folder", where=Location(file=str(folder)))
    return {
        path.name: path.read_bytes()
        for path in sorted(folder.iterdir())
        if path.suffix in {".pem", ".der", ".crt", ".cer"}
    }


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot be read: {err.strerror}", where=Location(file=str(path))) from err
