"""Errors of the file system as errors for users: a file where a folder is needed, no permission, a full disk."""

import errno
import os
from pathlib import Path

from contrast_tasks.errors import GraphError, Location
from contrast_tasks.files import norm_path

_HINTS = {
    errno.EACCES: "give yourself permission to read and write it, then run again",
    errno.EPERM: "give yourself permission to read and write it, then run again",
    errno.EROFS: "the project has to lie on a file system that can be written",
    errno.ENOSPC: "make room on the disk, then run again",
    errno.EDQUOT: "make room on the disk, then run again",
}


def file_error(error: OSError) -> GraphError | None:
    """Return the error with its location and a hint, None if it is not about a file.

    The location is relative to the current directory, which is the project's.
    """
    name = error.filename2 or error.filename
    if not isinstance(name, str | os.PathLike):
        return None
    path = Path(name)
    if isinstance(error, FileExistsError | NotADirectoryError):
        message, hint = "is a file, expected a directory", "move it away, then run again"
        path = next((place for place in (path, *path.parents) if place.is_file()), path)
    elif isinstance(error, IsADirectoryError):
        message, hint = "is a directory, expected a file", "move it away, then run again"
    else:
        message = f"cannot be used: {(error.strerror or type(error).__name__).lower()}"
        hint = _HINTS.get(error.errno or 0, "run again; finished work is kept")
    inside = path.is_relative_to(Path.cwd())
    return GraphError(
        message, hint=hint, where=Location(file=norm_path(path) if inside else str(path))
    )
