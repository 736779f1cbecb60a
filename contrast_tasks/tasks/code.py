"""One digest over all of our files that affect an output: code of the generating packages, schemas, templates.

A change of any of them makes every workload run again. The digest is kept by the signatures of the files, so that a
run that does nothing reads none of them.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from contrast_tasks import __version__, resources
from contrast_tasks.files import canonical_json, sha256_hex
from contrast_tasks.signatures import signature_of
from contrast_tasks.tasks.store import Store

_PACKAGE = Path(__file__).resolve().parents[1]
# The ground floor, and the packages that the steps import; commands and reports affect no output.
FOLDERS = (
    "",
    "attestation",
    "catalogue",
    "declare",
    "images",
    "kube",
    "manifest",
    "mesh",
    "pods",
    "policy",
    "prepare",
    "releases",
    "report",
    "settings",
    "steps",
    "web",
)
_RESOURCES = ("schemas", "templates")

Files = Iterator[tuple[str, os.stat_result]]


def code_files() -> Files:
    """Yield path and status of every file whose change makes all outputs out of date."""
    for folder in FOLDERS:
        yield from _files(str(_PACKAGE / folder), is_deep=bool(folder))
    yield from resource_files()


def resource_files() -> Files:
    """Yield path and status of every schema and template."""
    root = resources.root()
    if isinstance(root, Path):
        for folder in _RESOURCES:
            yield from _files(str(root / folder), is_deep=True, suffix="")


def all_code_files() -> Files:
    """Yield path and status of every file of both packages, from which our components' images are packed."""
    for folder in ("contrast_tasks", "coordinator"):
        yield from _files(str(_PACKAGE.parent / folder), is_deep=True, suffix="")


def _files(folder: str, *, is_deep: bool, suffix: str = ".py") -> Files:
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if is_deep and entry.name != "__pycache__":
                    yield from _files(entry.path, is_deep=True, suffix=suffix)
            elif entry.name.endswith(suffix):
                yield entry.path, entry.stat()


def signature_of_all_code() -> str:
    """Return a digest over names, sizes, times and inodes of `all_code_files`."""
    return _signature(all_code_files())


def _signature(files: Iterable[tuple[str, os.stat_result]]) -> str:
    entries = sorted([path, *signature_of(status)] for path, status in files)
    return sha256_hex(canonical_json([__version__, entries]))


def code_digest(memo: Store) -> str:
    """Return the digest over version, code, schemas and templates, 64 hex digits; memo: where it is kept."""
    signature = _signature(code_files())
    known = memo.get("code", signature)
    if known is not None:
        return known.decode()
    digest = _digest_of(signature)
    memo.remember("code", signature, digest.encode())
    memo.keep("code", (signature,))
    return digest


@lru_cache(maxsize=1)  # one process may open several projects
def _digest_of(_signature: str) -> str:
    contents = {
        os.path.relpath(path, _PACKAGE): sha256_hex(Path(path).read_bytes())
        for path, _ in code_files()
    }
    return sha256_hex(canonical_json([__version__, contents]))
