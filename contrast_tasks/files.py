"""File contents and paths: hashes, JSON bytes, atomic writes that leave equal files alone."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from json.encoder import encode_basestring
from pathlib import Path
from typing import BinaryIO, NamedTuple

from contrast_tasks.variables import CACHE_DIR

# About what a lint writes.
_PROBE_BYTES = 1 << 18
_MEMORY = Path("/dev/shm")  # noqa: S108  # a folder with a random name is made in it


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 of `content` as 64 lower-case hex digits."""
    return hashlib.sha256(content).hexdigest()


def canonical_json(document: object) -> bytes:  # any JSON value
    """Return the byte form of a JSON value that is hashed: sorted keys, no spaces, UTF-8, no NaN."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return text.encode()


def pretty_json(document: object) -> bytes:  # any JSON value
    """Return the byte form of JSON files for people: keys in the given order, two spaces, one newline at the end."""
    return (indented_json(document) + "\n").encode()


class Indented(dict[str, str]):
    """A JSON object whose values are texts that `indented_json` made for the place where they stand."""


def indented_json(document: object, level: int = 0) -> str:  # any JSON value
    """Return what `json.dumps` would with an indent of two, which it does in Python, value by value, in thrice the time.

    Keys must be strings. level: in how many objects or lists the value will stand.
    """
    out: list[str] = []
    _indent(document, "\n" + "  " * level, out)
    return "".join(out)


_other = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def _indent(value: object, start: str, out: list[str]) -> None:
    # Most values are strings, so none is handed on alone.
    inner = f"{start}  "
    if isinstance(value, str):
        out.append(encode_basestring(value))
    elif type(value) is Indented and value:
        entries = [f"{encode_basestring(key)}: {text}" for key, text in value.items()]
        out.append(f"{{{inner}{f',{inner}'.join(entries)}{start}}}")
    elif isinstance(value, dict) and value:
        separator = f"{{{inner}"
        for key, item in value.items():
            if isinstance(item, str):
                out.append(f"{separator}{encode_basestring(key)}: {encode_basestring(item)}")
            else:
                out.append(f"{separator}{encode_basestring(key)}: ")
                _indent(item, inner, out)
            separator = f",{inner}"
        out.append(f"{start}}}")
    elif isinstance(value, (list, tuple)) and value:
        separator = f"[{inner}"
        for item in value:
            if isinstance(item, str):
                out.append(f"{separator}{encode_basestring(item)}")
            else:
                out.append(separator)
                _indent(item, inner, out)
            separator = f",{inner}"
        out.append(f"{start}]")
    else:
        out.append(_other(value))


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's cache folder: CONTRAST_CACHE_DIR, else contrast-tasks below XDG_CACHE_HOME or ~/.cache."""
    if chosen := environ.get(CACHE_DIR):
        return Path(chosen)
    base = environ.get("XDG_CACHE_HOME") or os.path.join(environ.get("HOME", "~"), ".cache")  # noqa: PTH118
    return Path(base).expanduser() / "contrast-tasks"


def norm_path(path: str | os.PathLike[str], root: str | os.PathLike[str] = ".") -> str:
    """Return `path` relative to `root`, normalised, with `/`; a path outside `root` keeps its `..`.

    doit compares paths as strings, so every file_dep and target goes through here.
    """
    return Path(os.path.relpath(path, root)).as_posix()


def write_atomic(
    path: str | os.PathLike[str], content: bytes, *, mode: int = 0o644, is_synced: bool = True
) -> bool:
    """Write `content` to `path` unless the file holds these bytes already; return whether it was written.

    Missing parent directories are made. An OSError always names `path`.
    """
    target = Path(path)
    with contextlib.suppress(OSError):
        if target.read_bytes() == content:
            return False
    replace_file(target, content, mode=mode, is_synced=is_synced)
    return True


def replace_file(path: Path, content: bytes, *, mode: int = 0o644, is_synced: bool = True) -> None:
    """Write a temporary file in the same directory and rename it: readers see the old bytes or the new ones.

    is_synced: wait for the disk before renaming; not needed for files whose readers check them.
    """
    name = f"{path.parent}{os.sep}.{path.name}.{os.urandom(4).hex()}"
    try:
        file = new_private_file(name)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = new_private_file(name)
    except OSError as err:
        # The user knows this path, not that of the temporary file.
        raise type(err)(err.errno, err.strerror, str(path)) from err
    try:
        with file as stream:
            os.chmod(name, mode)  # noqa: PTH101  # the temporary name is a string
            stream.write(content)
            if is_synced:
                stream.flush()
                os.fsync(stream.fileno())
        os.replace(name, path)  # noqa: PTH105  # the temporary name is a string
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(name)  # noqa: PTH108  # as above
        if isinstance(error, OSError) and error.filename is None:
            # Errors of writing to a descriptor, as on a full disk, name no file.
            error.filename = str(path)
        raise


class WritableFolder(NamedTuple):
    """A folder that can be written, relative to a project; refusal: why it is not the usual one, None if it is."""

    folder: str
    refusal: OSError | None = None


@contextlib.contextmanager
def writable_folder(root: Path, usual: str) -> Iterator[WritableFolder]:
    """Give the usual folder of a project, made if it is missing; where it cannot be written one that is removed afterwards.

    Raises OSError if there is no place for files at all.
    """
    refusal = _refusal(root / usual)
    if refusal is None:
        yield WritableFolder(usual)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="contrast-", dir=_place_for_files(refusal)) as name:
        # Paths of a project are relative to it.
        yield WritableFolder(norm_path(os.path.realpath(name), os.path.realpath(root)), refusal)


def _refusal(folder: Path) -> OSError | None:
    """Return why a folder cannot be made or written, None if it can."""
    probe = folder / f".{os.urandom(4).hex()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with new_private_file(probe) as stream:
            # A full disk still has names.
            stream.write(bytes(_PROBE_BYTES))
    except OSError as error:
        return error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return None


def _place_for_files(refusal: OSError) -> str:
    """Return the system's folder for temporary files; where that cannot be written either, as in a container, the memory."""
    from tempfile import gettempdir

    with contextlib.suppress(OSError):
        if _refusal(Path(gettempdir())) is None:
            return gettempdir()
    if _MEMORY.is_dir() and _refusal(_MEMORY) is None:
        return str(_MEMORY)
    raise refusal


def new_private_file(name: str | os.PathLike[str]) -> BinaryIO:
    """Return a new file that only its owner may read, open for bytes; raises FileExistsError if there is one."""
    return open(name, "xb", opener=_private)  # the name may be a string; the caller closes it


def _private(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def remove_empty_parents(path: str | os.PathLike[str], stop: str | os.PathLike[str]) -> None:
    """Remove the empty directories above `path`, up to but not including `stop`."""
    last = Path(stop).resolve()
    folder = Path(path).resolve().parent
    while folder != last and last in folder.parents:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
