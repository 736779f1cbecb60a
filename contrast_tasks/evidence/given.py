"""Files that were named on the command line: their bytes, and errors that name them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contrast_tasks.errors import ContrastError, Location, UsageError

# A bundle of collateral is the largest evidence there is.
_LARGEST_BYTES = 16 * 1024 * 1024


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Give an error of ours that names no place the file it is about."""
    try:
        yield
    except ContrastError as err:
        err.where = err.where or Location(file=str(path))
        raise


def read_given(path: Path) -> bytes:
    """Return a file's bytes; raises UsageError if it cannot be read."""
    return _read(path, -1)


def read_evidence(path: Path) -> bytes:
    """Return the bytes of a file of evidence; raises UsageError if it cannot be read or is larger than any evidence."""
    content = _read(path, _LARGEST_BYTES + 1)
    if len(content) > _LARGEST_BYTES:
        raise UsageError(
            f"has more than {_LARGEST_BYTES} bytes, which no evidence has",
            where=Location(file=str(path)),
        )
    return content


def _read(path: Path, size: int) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as err:
        reason = (err.strerror or "").lower()
        raise UsageError(f"cannot be read: {reason}", where=Location(file=str(path))) from err
