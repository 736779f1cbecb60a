"""One digest over everything of ours that shapes an output: the code of the generating packages, schemas, templates.

A change of any of them makes every workload run again. The digest is kept beside the signatures of the files, so that a
run that does nothing reads none of them.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from contrast_tasks import __version__, resources
from contrast_tasks.files import canonical_json, sha256_hex, write_atomic

CODE = ".contrast/code.json"
_PACKAGE = Path(__file__).resolve().parents[1]
# The ground floor and the packages whose results end up in outputs; commands and reports do not.
_FOLDERS = (
    "",
    "images",
    "kube",
    "manifest",
    "mesh",
    "pods",
    "policy",
    "prepare",
    "settings",
    "steps",
)
_RESOURCES = ("schemas", "templates")


def code_files() -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of every file whose change makes everything generated out of date."""
    for folder in _FOLDERS:
        yield from _files(str(_PACKAGE / folder), deep=False)
    yield from resource_files()


def resource_files() -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of every schema and template."""
    root = resources.root()
    if isinstance(root, Path):
        for folder in _RESOURCES:
            yield from _files(str(root / folder), deep=True)


def _files(folder: str, *, deep: bool) -> Iterator[tuple[str, os.stat_result]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if deep and entry.name != "__pycache__":
                    yield from _files(entry.path, deep=True)
            elif deep or entry.name.endswith(".py"):
                yield entry.path, entry.stat()


def signature_of_code() -> str:
    """Return a digest over names, sizes, times and inodes of the code files."""
    return _signature(code_files())


def signature_of_all_code() -> str:
    """Return a digest like `signature_of_code` over every module of ours, the Coordinator's among them."""
    return _signature(all_code_files())


def all_code_files() -> Iterator[tuple[str, os.stat_result]]:
    """Yield path and status of every file of both packages, which images of our components are packed from."""
    for folder in ("contrast_tasks", "coordinator"):
        yield from _files(str(_PACKAGE.parent / folder), deep=True)


def _signature(files: Iterable[tuple[str, os.stat_result]]) -> str:
    entries = sorted(
        [path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        for path, status in files
    )
    return sha256_hex(canonical_json([__version__, entries]))


def code_digest(root: Path) -> str:
    """Return the digest over version, code, schemas and templates, 64 hex digits; root: the project."""
    signature = signature_of_code()
    path = root / CODE
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        recorded = json.loads(path.read_bytes())
        if recorded["signature"] == signature:
            return str(recorded["digest"])
    digest = _content_digest()
    document = {"signature": signature, "digest": digest}
    # A cache that cannot be written costs time, not correctness.
    with contextlib.suppress(OSError):
        write_atomic(path, canonical_json(document) + b"\n")
    return digest


def _content_digest() -> str:
    contents = {
        os.path.relpath(path, _PACKAGE): sha256_hex(Path(path).read_bytes())
        for path, _ in code_files()
    }
    return sha256_hex(canonical_json([__version__, contents]))
