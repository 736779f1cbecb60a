"""Wheels as entries of a layer: their modules, without scripts and headers.

Source: the Python packaging specification "Binary distribution format".
"""

import io
import zipfile
from collections.abc import Iterator

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layers import member_path
from contrast_tasks.images.pack import Entry

_MAX_UNPACKED_BYTES = 1 << 30
_TO_MODULES = ("purelib", "platlib")
_EXECUTABLE = 0o100
_MODE_SHIFT = 16  # of the Unix mode in a zip member's attributes


def read_wheel(content: bytes, folder: str, subject: str) -> Iterator[Entry]:
    """Yield the files of a wheel below `folder`; raises ImageError, in which `subject` names it.

    Of its data only modules are installed: programs begin with the path of a Python that is chosen at installation.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        members = archive.infolist()
    except zipfile.BadZipFile as err:
        raise ImageError(f"{subject}: not a wheel") from err
    if sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
        raise ImageError(f"{subject}: unpacks to more than {_MAX_UNPACKED_BYTES} bytes")
    for member in members:
        parts = member_path(member.filename, subject)
        if member.is_dir() or not parts:
            continue
        if parts[0].endswith(".data"):
            if parts[1:2] and parts[1] not in _TO_MODULES:
                continue
            parts = parts[2:]
        try:
            unpacked = archive.read(member)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as err:
            raise ImageError(f"{subject}: {member.filename!r} is damaged") from err
        is_executable = bool(member.external_attr >> _MODE_SHIFT & _EXECUTABLE)
        path = "/".join((*filter(None, folder.split("/")), *parts))
        yield Entry(path=path, content=unpacked, executable=is_executable)
