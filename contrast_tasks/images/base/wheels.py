"""Wheels as entries of a layer: their modules, without headers, and programs where they are asked for.

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
_PROGRAMS = "scripts"
_EXECUTABLE = 0o100
_MODE_SHIFT = 16  # of the Unix mode in a zip member's attributes


def read_wheel(
    content: bytes, folder: str, subject: str, *, has_programs: bool = False
) -> Iterator[Entry]:
    """Yield the files of a wheel below `folder`; raises ImageError, in which `subject` names it.

    Of its data only modules are installed: programs may begin with the path of a Python that is chosen at installation.
    has_programs: they come too, below `scripts`.
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
        if parts[0].endswith(".data") and len(parts) > 1:
            if parts[1] in _TO_MODULES:
                parts = parts[2:]
            elif parts[1] == _PROGRAMS and has_programs:
                parts = parts[1:]
            else:
                continue
        try:
            unpacked = archive.read(member)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as err:
            raise ImageError(f"{subject}: {member.filename!r} is damaged") from err
        is_executable = bool(member.external_attr >> _MODE_SHIFT & _EXECUTABLE)
        path = "/".join((*filter(None, folder.split("/")), *parts))
        yield Entry(path=path, content=unpacked, executable=is_executable)
