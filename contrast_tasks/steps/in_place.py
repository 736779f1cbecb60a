"""Sources that `generate` annotates themselves: read without its earlier additions, and written over.

The digest of a source is that of its pristine text, so the file's own new bytes make nothing stale. Lines of findings
count in that text, and are looked up in the file when they are shown.
"""

import json
import os
import stat
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple

from contrast_tasks.errors import ContrastError, Location, SettingsError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.findings import Finding

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_MODE = 0o7777


class Pins(NamedTuple):
    """References as the user wrote them by the pinned form that `generate` writes; state: digest of the lock file."""

    written: Mapping[str, str]
    state: str

    def used_in(self, content: bytes) -> dict[str, str]:
        """Return the pins that a file has."""
        return {pin: name for pin, name in self.written.items() if pin.encode() in content}


def pins_of(lock: Path) -> Pins:
    """Return what `generate` pins by a lock file; whatever is wrong with the file is for its own task to say.

    A pinned reference that the lock file has itself is the user's own.
    """
    from contrast_tasks.pods.references import parse_reference

    try:
        content = lock.read_bytes()
    except OSError:
        return Pins({}, "no lock")
    written: dict[str, str] = {}
    try:
        locked = {image["reference"]: image["digest"] for image in json.loads(content)["images"]}
        for name, digest in locked.items():
            reference = parse_reference(name)
            pinned = str(reference.pinned(digest))
            if reference.digest is None and pinned not in locked:
                written[pinned] = name
    except (ValueError, KeyError, TypeError, RecursionError, ContrastError):
        written = {}
    return Pins(written, sha256_hex(content))


def without_additions(content: bytes, file: str, written: Mapping[str, str]) -> bytes:
    """Return a source as it was before `generate` annotated it; bytes that are not text as they are."""
    from contrast_tasks.kube.pristine import pristine

    try:
        return pristine(content.decode(), file, written).encode()
    except UnicodeDecodeError:
        return content


def refuse_unwritable(root: Path, files: Iterable[str]) -> None:
    """Raise SettingsError for the first source that cannot or must not be written; files: relative to root."""
    for file in files:
        _target(root, file)


def write_source(root: Path, file: str, content: bytes) -> bool:
    """Write a source over; mode and symbolic link stay. Return whether the bytes differed."""
    target = _target(root, file)
    mode = target.stat().st_mode & _MODE
    return write_atomic(target, content, mode=mode)


def _target(root: Path, file: str) -> Path:
    real, top = Path(os.path.realpath(root / file)), Path(os.path.realpath(root))
    if top not in real.parents:
        reason, hint = "lies outside the project", "copy it into the project"
    elif not real.stat().st_mode & _WRITABLE or not os.access(real, os.W_OK):
        reason, hint = "is read-only", "make it writable"
    elif not os.access(real.parent, os.W_OK):
        reason, hint = "is in a folder that is read-only", "make the folder writable"
    else:
        return real
    raise SettingsError(
        f"{file} {reason}, expected a file that may be annotated in place",
        where=Location(file=file),
        hint=f"{hint}, or generate without output.in_place",
    )


def in_files(
    root: Path, pins: Mapping[str, Mapping[str, str]], findings: Iterable[Finding]
) -> list[Finding]:
    """Return findings with the lines that the files have now; pins: of each source by name."""
    lines: dict[str, list[int]] = {}
    placed = []
    for finding in findings:
        file, line = finding.where.file, finding.where.line
        if line is not None and file in pins:
            if file not in lines:
                lines[file] = _lines(root / file, file, pins[file])
            found = lines[file]
            if line <= len(found):
                finding = finding.replace(where=finding.where.replace(line=found[line - 1]))  # noqa: PLW2901
        placed.append(finding)
    return placed


def _lines(path: Path, file: str, written: Mapping[str, str]) -> list[int]:
    """Return the line in the file of each line of its pristine text."""
    try:
        content = path.read_bytes()
    except OSError:
        return []
    before: list[Any] = without_additions(content, file, written).splitlines()
    now: list[Any] = content.splitlines()
    found: list[int] = []
    for _, start, stop, new, end in SequenceMatcher(
        None, before, now, autojunk=False
    ).get_opcodes():
        found += [min(new + offset, max(end - 1, new)) + 1 for offset in range(stop - start)]
    return found
