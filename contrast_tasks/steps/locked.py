"""The lock file as a run sees it: read again whenever it changed, with the digest of each of its entries.

A no-op asks for a thousand digests and needs no entry, so the file is only parsed in earnest when somebody wants one.
"""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from contrast_tasks.errors import ContrastError
from contrast_tasks.files import canonical_json, sha256_hex

if TYPE_CHECKING:
    from contrast_tasks.images.lock import Lock


class LockFile:
    """One lock file.

    path: where it lies; name: as shown. inputs: what others derived from its content, forgotten when it changes.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = str(path)
        self._name = name
        self._signature: tuple[int, ...] | None = None
        self._content = b""
        self._lock: Lock | None = None
        # By reference as written; what is spelled otherwise goes through the parsed file.
        self._entries: dict[str, str] = {}
        self._images: dict[tuple[str, ...], str] = {}
        self.inputs: dict[str, str] = {}

    def look(self) -> None:
        """See whether the file changed; everything else here speaks of it as it was at the last look."""
        try:
            status = os.stat(self._path)  # noqa: PTH116  # asked by every task that runs
        except FileNotFoundError:
            signature: tuple[int, ...] = ()
        else:
            signature = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
        if signature == self._signature:
            return
        content = Path(self._path).read_bytes() if signature else b""
        self._signature, self._content, self._lock = signature, content, None
        self._entries, self._images, self.inputs = _entries(content), {}, {}

    def look_once(self) -> None:
        """Look if nobody did yet."""
        if self._signature is None:
            self.look()

    def parsed(self) -> "Lock | None":
        """Return the entries, None if there is no file; raises ImageError if it cannot be understood."""
        if self._lock is None and self._signature:
            from contrast_tasks.images.lock import parse_lock

            self._lock = parse_lock(self._content, self._name)
        return self._lock

    def digests(self, references: tuple[str, ...]) -> str:
        """Return each reference with the digest of its entry, on one line."""
        line = self._images.get(references)
        if line is None:
            line = " ".join(f"{reference}={self._digest(reference)}" for reference in references)
            self._images[references] = line
        return line

    def _digest(self, reference: str) -> str:
        digest = self._entries.get(reference)
        if digest is None:
            digest = "absent"
            try:
                lock = self.parsed()
                found = lock.resolve(reference) if lock is not None else None
                if found is not None:
                    digest = sha256_hex(canonical_json(found.to_json()))
            except ContrastError:
                pass  # the tasks of the workload and of the lock say what is wrong
            self._entries[reference] = digest
        return digest


def _entries(content: bytes) -> dict[str, str]:
    """Return the digest of each entry by reference; whatever is wrong with the file is for `parse_lock` to say."""
    try:
        return {
            image["reference"]: sha256_hex(canonical_json(image))
            for image in json.loads(content)["images"]
        }
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
