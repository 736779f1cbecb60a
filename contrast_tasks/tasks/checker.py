"""Whether a file is the one that was seen before: by signature first, by content when that differs.

doit's own checkers trust the modification time, so content that changed under an old time passes for unchanged, and a
file that changes while its task runs is recorded as done (docs/internals/graph.md 1). The signature here holds the change
time, which no ordinary program can set back, and what is recorded is the signature from before the action.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any

from doit.dependency import FileChangedChecker

Signature = tuple[int, int, int, int]

# A state no file can have: recorded when the file changed under its task, so that the task runs again.
_NEVER = ((-1, -1, -1, -1), "")


def signature_of(status: os.stat_result) -> Signature:
    """Return (size in bytes, modification time in ns, change time in ns, inode)."""
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def content_digest(path: str) -> str:
    """Return the SHA-256 of the file's content as 64 hex digits."""
    with open(path, "rb") as stream:  # noqa: PTH123  # a thousand times per run
        return hashlib.file_digest(stream, "sha256").hexdigest()


class ContentChecker(FileChangedChecker):  # type: ignore[misc]  # doit has no types
    """doit's file checker by (signature, SHA-256)."""

    def __init__(self) -> None:
        self._before: dict[str, Signature] = {}

    def info(self, file_path: str) -> Signature:
        """Return the signature now, and remember the first one seen in this run."""
        now = signature_of(os.stat(file_path))  # noqa: PTH116  # a thousand times per run
        self._before.setdefault(file_path, now)
        return now

    def check_modified(self, file_path: str, file_stat: Signature, state: Sequence[Any]) -> bool:
        """Return whether the content differs from the recorded one; `state` is what get_state gave."""
        signature, digest = state
        if tuple(signature) == file_stat:
            return False
        if signature[0] != file_stat[0]:
            return True
        return bool(content_digest(file_path) != digest)

    def get_state(self, dep: str, current_state: Sequence[Any] | None) -> tuple[Any, ...] | None:
        """Return what to record for an input of a finished task; None when the record still holds."""
        now = signature_of(os.stat(dep))  # noqa: PTH116  # as above
        if self._before.get(dep, now) != now:
            return _NEVER
        if current_state is not None and tuple(current_state[0]) == now:
            return None
        return (now, content_digest(dep))
