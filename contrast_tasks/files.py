"""Reading and writing files so that a crash never leaves half a file and equal bytes are never rewritten."""

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def canonical_json(document: Any) -> bytes:  # any JSON value
    """Return the one byte form of a JSON value that we hash: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def pretty_json(document: Any) -> bytes:  # any JSON value
    """Return the byte form of JSON files for people: keys as given, two spaces, one newline at the end."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def norm_path(path: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> str:
    """Return `path` relative to `root`, normalised, with `/`; a path outside `root` keeps its `..`.

    doit compares paths as strings, so every file_dep and target goes through here.
    """
    return Path(os.path.relpath(path, root)).as_posix()


def write_atomic(path: str | os.PathLike[str], content: bytes, *, mode: int = 0o644) -> bool:
    """Write `content` to `path` unless it holds these bytes already; return whether it was written.

    A temporary file in the same directory is written, synced and renamed, so readers see the old bytes or the
    new ones. Missing parent directories are made. An OSError names the file, also where the system does not.
    """
    # Every run imports this module, few write.
    import tempfile

    target = Path(path)
    with contextlib.suppress(OSError):
        if target.read_bytes() == content:
            return False
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as err:
        # The file that was asked for is what the user knows, not the temporary one.
        raise type(err)(err.errno, err.strerror, str(target)) from err
    try:
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(stream.fileno(), mode)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, target)  # noqa: PTH105  # the descriptor's name is a string
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108  # the descriptor's name is a string
        name_file(error, target)
        raise
    return True


def name_file(error: BaseException, path: Path) -> None:
    """Let an error of writing to a descriptor, as on a full disk, tell which file it was."""
    if isinstance(error, OSError) and error.filename is None:
        error.filename = str(path)


def remove_empty_parents(path: str | os.PathLike[str], stop: str | os.PathLike[str]) -> None:
    """Remove the empty directories above `path`, up to and not including `stop`."""
    last = Path(stop).resolve()
    folder = Path(path).resolve().parent
    while folder != last and last in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
