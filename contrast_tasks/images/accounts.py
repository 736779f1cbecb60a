"""The text of /etc/passwd and /etc/group of an image, read from its layers without unpacking them.

The policy resolves user names and primary groups with them (policy specification, 4.4).
"""

import tarfile
from dataclasses import dataclass, field
from typing import BinaryIO

from contrast_tasks.errors import ImageError
from contrast_tasks.images.layers import member_path, open_layer, whiteout_target

_FILES = (("etc", "passwd"), ("etc", "group"))
_MAX_BYTES = 1 << 20  # of one file; a real one has a few kilobytes


@dataclass(slots=True)
class Accounts:
    """The two files as seen from the top of the layers read so far; feed from the bottom up."""

    _texts: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def passwd(self) -> str:
        """Return the text, "" when the image has none."""
        return self._texts.get(("etc", "passwd"), "")

    @property
    def group(self) -> str:
        """Return the text, "" when the image has none."""
        return self._texts.get(("etc", "group"), "")

    def add_layer(self, stream: BinaryIO, *, diff_id: str, subject: str) -> int:
        """Read one layer on top and return its unpacked size in bytes; raises as `open_layer` does.

        Whiteouts reach lower layers only, wherever they stand in the archive. Something other than a regular
        file (a link, as some images have) reads as absent: the policy then refuses names it cannot resolve.
        """
        removed: set[tuple[str, ...]] = set()
        added: dict[tuple[str, ...], str | None] = {}
        with open_layer(stream, diff_id=diff_id, subject=subject) as (reader, members):
            for archive, member in members:
                parts = member_path(member.name, subject)
                target = whiteout_target(parts, subject)
                if target is not None:
                    removed.add(target)
                elif parts in _FILES:
                    added[parts] = _text(archive, member, subject)
                elif parts == ("etc",) and not member.isdir():
                    removed.add(parts)
        hiding = {("",), ("etc",), ("etc", "")}
        for name in _FILES:
            if name in removed or removed & hiding:
                self._texts.pop(name, None)
            if name in added:
                text = added[name]
                self._texts.pop(name, None)
                if text is not None:
                    self._texts[name] = text
        return reader.size_bytes


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo, subject: str) -> str | None:
    if not member.isreg():
        return None
    if member.size > _MAX_BYTES:
        found = f"/{member.name} has {member.size} bytes, at most {_MAX_BYTES} are read"
        raise ImageError(f"{subject}: {found}")
    stream = archive.extractfile(member)
    content = stream.read() if stream else b""
    return content.decode(errors="replace")
