"""Evidence in files: what it says, whether a manifest accepts it, and whether an index of vectors gives the listed verdicts."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.errors import Location, UsageError
from contrast_tasks.evidence.given import about, read_evidence

if TYPE_CHECKING:
    from contrast_tasks.attestation.carriers import Carried
    from contrast_tasks.attestation.endorsements.fetch import Endorsements

INDEX_NAME = "vectors.json"
_INDENT = "  "
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTotals:
    """How many checks of an index came out as expected, and how many did not; `results` has each one as JSON values."""

    passed: int
    failed: int
    results: tuple[Mapping[str, Any], ...] = ()


def show_evidence(path: Path) -> dict[str, Any]:
    """Return what a file of evidence says; raises EvidenceRejected if it is nothing we know."""
    from contrast_tasks.attestation.describe import describe

    with about(path):
        return describe(read_evidence(path))


def load_evidence(path: Path) -> "Carried":
    """Return the evidence in a file; raises EvidenceRejected naming the file if there is none."""
    from contrast_tasks.attestation.carriers import open_carrier

    with about(path):
        return open_carrier(read_evidence(path))


def text_lines(description: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield a description as indented lines, one member each; booleans as yes and no, lists of objects one by one."""
    for name, value in description.items():
        label = f"{_INDENT * depth}{name}"
        if isinstance(value, Mapping) and value:
            yield f"{label}:"
            yield from text_lines(value, depth + 1)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            yield f"{label}:"
            for number, item in enumerate(value):
                yield f"{_INDENT * (depth + 1)}{number}:"
                yield from text_lines(item, depth + 2)
        elif isinstance(value, bool):
            yield f"{label}: {'yes' if value else 'no'}"
        elif isinstance(value, list):
            yield f"{label}: {', '.join(map(str, value)) or 'none'}"
        else:
            yield f"{label}: {'none' if value in (None, '', {}) else value}"


def check_vectors(folder: Path, *, roots: Path | None, say: Say) -> CheckTotals:
    """Run every check of `folder`/vectors.json; says a line per check and the totals, `N passed, N failed`.

    folder: or the index itself. roots: a folder of root certificates that takes the place of those that ship with the package.
    A check that cannot be run counts as failed and says why. Raises UsageError naming the index for one of another form.
    """
    from contrast_tasks.attestation.trust_roots import bundled_roots, roots_from
    from contrast_tasks.evidence.vector_checks import run_checks

    index_path = folder if folder.is_file() else folder / INDEX_NAME
    folder = index_path.parent
    try:
        index = json.loads(read_evidence(index_path))
    except (ValueError, RecursionError) as err:
        raise UsageError("it is not JSON", where=Location(file=str(index_path))) from err
    trusted = bundled_roots() if roots is None else roots_from(_certificate_files(roots))
    results = []
    checks = run_checks(index, lambda name: _inside(folder, name, index_path), trusted)
    passed = 0
    with about(index_path):
        for result in checks:
            passed += result.passed
            verdict = "ok" if result.passed else "FAILED"
            expected = " ".join(filter(None, (result.expected, result.expected_reason)))
            found = " ".join(filter(None, (result.found, result.found_reason)))
            options = f" with {', '.join(result.options)}" if result.options else ""
            say(
                f"{verdict} {result.vector} {result.check} at {result.at}{options}: expected {expected}, found {found}"
            )
            for line in (*result.notes, "" if result.passed else result.detail):
                if line:
                    say(f"{_INDENT}{line}")
            results.append(
                {
                    "vector": result.vector,
                    "check": result.check,
                    "at": result.at,
                    "options": list(result.options),
                    "passed": result.passed,
                    "expected": expected,
                    "found": found,
                    "detail": result.detail,
                    "notes": list(result.notes),
                }
            )
    failed = len(results) - passed
    say(f"{passed} passed, {failed} failed")
    return CheckTotals(passed=passed, failed=failed, results=tuple(results))


def verify_evidence(
    path: Path,
    *,
    manifest: Path,
    report_data_hex: str | None,
    endorsements: "Endorsements",
    now: datetime,
    collateral: Path | None = None,
    allow_vlek: bool = False,
    allow_quote_v5: bool = False,
) -> dict[str, Any]:
    """Return a description of evidence that one reference value of a manifest accepts.

    report_data_hex: the 64 bytes it must bind; None takes those of the evidence itself, so nothing is said about whom it
    was made for. collateral: a file with a bundle, in place of what Intel publishes now. allow_vlek, allow_quote_v5: see judge.
    Raises EvidenceRejected with the first failing check of each reference value.
    """
    from contrast_tasks.attestation.judge import judge_document
    from contrast_tasks.attestation.tdx.collateral import parse_collateral
    from contrast_tasks.manifest.codec import parse_manifest

    report_data = _report_data(report_data_hex)
    judging = parse_manifest(read_evidence(manifest), file=str(manifest))
    bundle = None
    if collateral is not None:
        with about(collateral):
            bundle = parse_collateral(read_evidence(collateral))
    with about(path):
        return judge_document(
            read_evidence(path),
            judging,
            report_data=report_data,
            endorsements=endorsements,
            now=now,
            collateral=bundle,
            allow_vlek=allow_vlek,
            allow_quote_v5=allow_quote_v5,
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
    found = {
        path.name: read_evidence(path)
        for path in sorted(folder.iterdir())
        if path.suffix in {".pem", ".der", ".crt", ".cer"}
    }
    if not found:
        raise UsageError(
            "holds no certificates, wanted files .pem, .der, .crt or .cer",
            where=Location(file=str(folder)),
        )
    return found


def _inside(folder: Path, name: str, index: Path) -> bytes | None:
    """Return a file that the index names, None if there is none; it must lie below the index's folder."""
    path, where = folder / name, Location(file=str(index))
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
        exists = path.exists()
    except (OSError, ValueError) as err:  # a name too long, or with a zero byte
        raise UsageError(f"names a file that cannot be: {name[:99]!r}", where=where) from err
    if not is_inside:
        raise UsageError(f"names the file {name!r} outside its folder", where=where)
    return read_evidence(path) if exists else None
