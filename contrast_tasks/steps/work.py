"""The result of a workload's costly step: one file with four parts, kept in .contrast/results and in the shared cache.

    line 1   contrast-work/1 <inputs digest> <SHA-256 of everything below>
    line 2   the head as JSON: what checks and the manifest need, and nothing large
    line 3   the prepared object as JSON, images pinned
    rest     the policy's text; empty for a workload that gets none

A thousand heads are read in a moment because the large parts behind them are not.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from contrast_tasks.errors import GraphError
from contrast_tasks.files import canonical_json, name_file, sha256_hex

_MAGIC = "contrast-work/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What the manifest needs of a workload.

    policy_sha256: 64 hex digits, "" without a policy. findings: as JSON, places relative to the document: line 1 is the
    document's first, the file is left to whoever knows where the document stands now.
    """

    policy_sha256: str
    sans: tuple[str, ...]
    workload_secret_id: str
    role: str
    findings: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Head, prepared object and policy of one workload."""

    head: Head
    obj: dict[str, Any]
    policy: bytes


def render_work(work: Work, inputs: str) -> bytes:
    """Return the bytes of the file; inputs: digest over everything it was made from."""
    body = b"\n".join((canonical_json(asdict(work.head)), _object(work.obj), work.policy))
    return f"{_MAGIC} {inputs} {sha256_hex(body)}\n".encode() + body


def _object(obj: Mapping[str, Any]) -> bytes:
    # The order of keys is the user's, so it is kept.
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode()


def parse_work(content: bytes, inputs: str) -> Work | None:
    """Return the work, or None if `content` is damaged or was made from other inputs."""
    first, _, body = content.partition(b"\n")
    if first.decode("ascii", "replace") != f"{_MAGIC} {inputs} {sha256_hex(body)}":
        return None
    head, obj, policy = body.split(b"\n", 2)
    return Work(head=head_of(json.loads(head)), obj=json.loads(obj), policy=policy)


def read_head(path: Path, inputs: str) -> Head:
    """Return the head only; raises GraphError if the file is not the result for these inputs."""
    try:
        with path.open("rb") as stream:
            first = stream.readline()
            head = stream.readline()
        if first.split()[:2] == [_MAGIC.encode(), inputs.encode()]:
            return head_of(json.loads(head))
    except (OSError, ValueError, TypeError) as error:
        raise _stale(path) from error
    raise _stale(path)


def read_work(path: Path, inputs: str) -> Work:
    """Return the whole result; raises GraphError if the file is not the result for these inputs."""
    try:
        work = parse_work(path.read_bytes(), inputs)
    except OSError as error:
        raise _stale(path) from error
    if work is None:
        raise _stale(path)
    return work


def _stale(path: Path) -> GraphError:
    return GraphError(
        f"{path.parent.parent.name}/results/{path.name} is not the result of the current sources",
        hint="run again; if it stays, remove the directory .contrast/results",
    )


def head_of(document: Mapping[str, Any]) -> Head:
    """Return the head that `document`, its JSON form, stands for."""
    return Head(
        policy_sha256=document["policy_sha256"],
        sans=tuple(document["sans"]),
        workload_secret_id=document["workload_secret_id"],
        role=document["role"],
        findings=tuple(document["findings"]),
    )


def cache_directory(environ: Mapping[str, str]) -> Path:
    """Return CONTRAST_CACHE_DIR, or contrast-tasks below XDG_CACHE_HOME or ~/.cache."""
    chosen = environ.get("CONTRAST_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "~"), ".cache")  # noqa: PTH118
    return Path(base).expanduser() / "contrast-tasks"


def _cached(directory: Path, inputs: str) -> Path:
    return directory / "results" / inputs[:2] / inputs[2:]


def load_cached(directory: Path, inputs: str) -> bytes | None:
    """Return the bytes another run made from the same inputs, or None; damaged ones do not count."""
    try:
        content = _cached(directory, inputs).read_bytes()
    except OSError:
        return None
    return content if parse_work(content, inputs) is not None else None


def save_cached(directory: Path, inputs: str, content: bytes) -> None:
    """Keep the bytes for other runs; a cache that cannot be written is no error."""
    with contextlib.suppress(OSError):
        write_plain(_cached(directory, inputs), content)


def write_plain(path: Path, content: bytes) -> None:
    """Write by rename, without waiting for the disk: these files check themselves when they are read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=".new.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.replace(name, path)  # noqa: PTH105  # the descriptor's name is a string
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108  # as above
        name_file(error, path)
        raise
