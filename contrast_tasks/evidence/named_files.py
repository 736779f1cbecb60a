"""Files named on the command line: their bytes, and errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contrast_tasks.errors import ContrastError, Location, UsageError

# Bundles of collateral are the largest evidence.
_MAX_EVIDENCE_BYTES = 16 * 1024 * 1024


@contextmanager
def errors_name(path: Path) -> Iterator[None]:
    """Set the location of errors raised inside to a file, unless they have one."""
    try:
        yield
    except ContrastError as err:
        err.where = err.where or Location(file=str(path))
        raise


def read_file(path: Path, size: int = -1) -> bytes:
    """Return a file's bytes, at most `size` unless negative; raises UsageError if it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(size)
    except OSError as err:
        reason = (err.strerror or "").lower()
        raise UsageError(f"cannot be read: {reason}", where=Location(file=str(path))) from err


def read_evidence(path: Path) -> bytes:
    """Return the bytes of an evidence file; raises UsageError if it cannot be read or is too large."""
    content = read_file(path, _MAX_EVIDENCE_BYTES + 1)
    if len(content) > _MAX_EVIDENCE_BYTES:
        raise UsageError(
            f"has more than {_MAX_EVIDENCE_BYTES} bytes, too many for evidence",
            where=Location(file=str(path)),
        )
    return content
