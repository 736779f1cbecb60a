"""The snapshot: a list of all files that `generate` depends on or writes, with their signatures.

`generate` writes it when it had nothing to do. If all signatures, the command line and the environment are still the same,
the next `generate` is done without importing doit, YAML or the settings. This module imports as little as possible, even of
the standard library. Source: docs/internals/graph.md 2.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence

from contrast_tasks.signatures import RACY_NS, signature_of

SNAPSHOT = ".contrast/snapshot.json"
VERSION = 1
_ABSENT = [-1, -1, -1, -1]


def signature_at(path: str) -> list[int]:
    """Return the signature of a file or folder, that of nothing if it is absent."""
    try:
        status = os.stat(path)  # noqa: PTH116  # pathlib is not loaded on this path
    except OSError:
        return _ABSENT
    return [*signature_of(status)]


def _circumstances(words: Sequence[str], environ: Mapping[str, str]) -> list[object]:
    """Return what else the result and its output depend on."""
    settings = sorted(
        (name, value) for name, value in environ.items() if name.startswith("CONTRAST_")
    )
    github = environ.get("GITHUB_ACTIONS", "")
    place = [os.getcwd(), __file__]  # noqa: PTH109
    return [VERSION, list(words), [list(pair) for pair in settings], github, sys.version, place]


def unchanged(
    words: Sequence[str], root: str, *, environ: Mapping[str, str] | None = None
) -> str | None:
    """Return the line of a `generate` without anything to do, None if the graph must be run."""
    started = time.perf_counter()
    if not words or words[0] != "generate":
        return None
    environ = os.environ if environ is None else environ
    try:
        with open(os.path.join(root, SNAPSHOT), "rb") as stream:  # noqa: PTH118, PTH123  # as above
            recorded = json.loads(stream.read())
        if recorded["circumstances"] != _circumstances(words, environ):
            return None
        prefix = root + os.sep
        for path, *signature in recorded["files"]:
            if signature_at(path if path[:1] == os.sep else prefix + path) != signature:
                return None
        workloads = recorded["workloads"]
        note = str(recorded["note"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return up_to_date(workloads, note, time.perf_counter() - started)


def up_to_date(workloads: int, note: str, elapsed_s: float) -> str:
    """Return the line of a run without anything to do; note: as `2 warnings`, or empty."""
    middle = f", {note}" if note else ""
    plural = "" if workloads == 1 else "s"
    return f"up to date ({workloads} workload{plural}{middle}, {elapsed_s:.1f} s)"


def record(
    words: Sequence[str],
    root: str,
    paths: Iterable[str],
    *,
    workloads: int,
    note: str,
    environ: Mapping[str, str],
    now_ns: int,
) -> bool:
    """Write the snapshot of `paths` (relative to root, or absolute); return False if some are too young.

    A path may be absent; the snapshot is valid as long as it stays absent.
    """
    files = []
    for path in sorted(set(paths)):
        signature = signature_at(os.path.join(root, path))  # noqa: PTH118
        if signature[2] > now_ns - RACY_NS:
            return False
        files.append([path, *signature])
    document = {
        "circumstances": _circumstances(words, environ),
        "workloads": workloads,
        "note": note,
        "files": files,
    }
    target = os.path.join(root, SNAPSHOT)  # noqa: PTH118
    with open(f"{target}.new", "w", encoding="utf-8") as stream:  # noqa: PTH123
        json.dump(document, stream, separators=(",", ":"))
    os.replace(f"{target}.new", target)  # noqa: PTH105
    return True


def forget(root: str) -> None:
    """Remove the snapshot."""
    try:
        os.unlink(os.path.join(root, SNAPSHOT))  # noqa: PTH108, PTH118
    except FileNotFoundError:
        return
