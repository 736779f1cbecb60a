"""Evidence in files: describe it, verify it with a manifest, and run the checks of an index of vectors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks import catalogue
from contrast_tasks.errors import Location, UsageError
from contrast_tasks.evidence.named_files import errors_name, read_evidence
from contrast_tasks.json_text import NotJson, read_json

if TYPE_CHECKING:
    from contrast_tasks.attestation.carriers import Carried
    from contrast_tasks.attestation.endorsements.fetch import Endorsements

INDEX_NAME = "vectors.json"
_INDENT = "  "
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTotals:
    """How many checks of an index gave the expected verdict, and how many did not; `results` has each one as JSON values."""

    passed: int
    failed: int
    results: tuple[Mapping[str, Any], ...] = ()


def show_evidence(path: Path) -> dict[str, Any]:
    """Return a description of an evidence file; raises EvidenceRejected if the format is unknown."""
    from contrast_tasks.attestation.describe import describe

    with errors_name(path):
        return describe(read_evidence(path))


def load_evidence(path: Path) -> "Carried":
    """Return the evidence in a file; raises EvidenceRejected if there is none."""
    from contrast_tasks.attestation.carriers import open_carrier

    with errors_name(path):
        return open_carrier(read_evidence(path))


def text_lines(description: Mapping[str, Any], depth: int = 0) -> Iterator[str]:
    """Yield a description as indented lines, one for each member; booleans are yes or no, objects in lists are numbered."""
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
    """Run every check of `folder`/vectors.json; `say` gets a line for each check and the totals, `N passed, N failed`.

    folder: may also be the index itself. roots: a folder of root certificates that replaces the ones in this package.
    A check that cannot be run counts as failed, with a reason. Raises UsageError if the index has another form.
    """
    from contrast_tasks.attestation.trust_roots import bundled_roots, roots_from
    from contrast_tasks.evidence.vector_checks import run_checks

    index_path = folder if folder.is_file() else folder / INDEX_NAME
    folder = index_path.parent
    try:
        index = read_json(read_evidence(index_path)).document
    except NotJson as err:
        where = Location(file=str(index_path), line=err.line)
        raise UsageError(str(err), where=where) from err
    trusted = bundled_roots() if roots is None else roots_from(_certificate_files(roots))
    results = []
    checks = run_checks(index, lambda name: _inside(folder, name, index_path), trusted)
    passed = 0
    with errors_name(index_path):
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
    """Return facts about evidence that one reference value of a manifest accepts.

    report_data_hex: the 64 bytes that the evidence must hold; None: not checked, so the evidence may be for any key.
    collateral: a file with a bundle to use instead of what Intel publishes now. allow_vlek, allow_quote_v5: see
    `judge_document`. Raises EvidenceRejected with the first failed check of each reference value.
    """
    from contrast_tasks.attestation.judge import judge_document
    from contrast_tasks.attestation.tdx.collateral import parse_collateral
    from contrast_tasks.manifest.codec import parse_manifest

    report_data = _report_data(report_data_hex)
    judging = parse_manifest(
        read_evidence(manifest), file=str(manifest), tolerated=catalogue.LATER_RULES
    )
    bundle = None
    if collateral is not None:
        with errors_name(collateral):
            bundle = parse_collateral(read_evidence(collateral))
    with errors_name(path):
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
        raise UsageError("no such folder", where=Location(file=str(folder)))
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


def _exists(path: Path) -> bool:
    """Return whether the file exists; unlike Path.exists, raise OSError and ValueError for a name that no file can have."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _inside(folder: Path, name: str, index: Path) -> bytes | None:
    """Return the bytes of a file that the index names, None if it does not exist.

    Raises UsageError for a file outside the index's folder.
    """
    path, where = folder / name, Location(file=str(index))
    try:
        is_inside = path.resolve().is_relative_to(folder.resolve())
        exists = _exists(path)
    except (OSError, ValueError) as err:  # the name is too long or has a zero byte
        raise UsageError(f"names an impossible file name: {name[:99]!r}", where=where) from err
    if not is_inside:
        raise UsageError(f"names the file {name!r} outside its folder", where=where)
    return read_evidence(path) if exists else None
