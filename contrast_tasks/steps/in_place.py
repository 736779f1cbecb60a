"""Sources that `generate` annotates themselves: read without its earlier additions, and written over.

The digest of a source is that of its pristine text, so the file's own new bytes make nothing stale. Lines of findings
count in that text, and are looked up in the file when they are shown. Source: docs/internals/generate.md 4.
"""

import os
import stat
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

from contrast_tasks.errors import ImageError, Location, SettingsError
from contrast_tasks.files import sha256_hex, write_atomic
from contrast_tasks.findings import Finding

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
_MODE = 0o7777
_PINNED = b"@sha256:"


class Pins:
    """What `generate` pins by a lock file: references as the user wrote them, by the pinned form.

    A pinned reference that the lock file has itself is the user's own.
    state: digest of the lock file, which is parsed when a file is read that has a pinned reference.
    """

    def __init__(self, lock: Path) -> None:
        try:
            self._content = lock.read_bytes()
        except OSError:
            self._content = b""
        self.state = sha256_hex(self._content)

    def used_in(self, content: bytes) -> dict[str, str]:
        """Return the pins that a file has."""
        if _PINNED not in content:
            return {}
        return {pin: name for pin, name in self._written.items() if pin.encode() in content}

    @cached_property
    def _written(self) -> Mapping[str, str]:
        from contrast_tasks.images.lock import parse_lock
        from contrast_tasks.pods.references import parse_reference

        try:
            images = parse_lock(self._content).images
        except ImageError:
            # For the task of the lock to say.
            return {}
        written = {}
        for name, image in images.items():
            reference = parse_reference(name)
            pinned = str(reference.pinned(image.digest))
            if reference.digest is None and pinned not in images:
                written[pinned] = name
        return written


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
