"""The text of /etc/passwd and /etc/group of an image, read from its layers without unpacking them.

Policies resolve user names and groups with them (docs/internals/policy.md 4.4).
"""

from dataclasses import dataclass, field
from typing import BinaryIO

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import Kind, Member
from contrast_tasks.images.layers import member_path, open_layer, whiteout_target

_FILES = (("etc", "passwd"), ("etc", "group"))
_MAX_BYTES = 1 << 20  # of one file; usual ones have a few kilobytes


@dataclass(slots=True)
class Accounts:
    """The two files after the layers read so far; layers are added from the bottom up."""

    _texts: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def passwd(self) -> str:
        """Return the text of /etc/passwd, "" if the image has none."""
        return self._texts.get(("etc", "passwd"), "")

    @property
    def group(self) -> str:
        """Return the text of /etc/group, "" if the image has none."""
        return self._texts.get(("etc", "group"), "")

    def add_layer(self, stream: BinaryIO, *, diff_id: str, subject: str) -> int:
        """Add the next layer and return its uncompressed size in bytes; raises what `open_layer` raises.

        Whiteouts affect only lower layers, wherever they are in the archive. A file that is not regular, such as a
        link, counts as absent; the policy then refuses names that it cannot resolve.
        """
        removed: set[tuple[str, ...]] = set()
        added: dict[tuple[str, ...], str] = {}
        with open_layer(stream, diff_id=diff_id, subject=subject) as (reader, members):
            for member in members:
                parts = member_path(member.name, subject)
                target = whiteout_target(parts, subject)
                if target is not None:
                    removed.add(target)
                elif parts in _FILES:
                    added[parts] = _text(member, subject)
                elif parts == ("etc",) and member.kind is not Kind.FOLDER:
                    removed.add(parts)
        hiding = {("",), ("etc",), ("etc", "")}
        for name in _FILES:
            if name in removed or removed & hiding:
                self._texts.pop(name, None)
            if name in added:
                self._texts[name] = added[name]
        return reader.size_bytes


def _text(member: Member, subject: str) -> str:
    if member.kind is not Kind.FILE:
        return ""
    if member.size_bytes > _MAX_BYTES:
        found = f"{member.name!r} has {member.size_bytes} bytes, at most {_MAX_BYTES} are read"
        raise ImageError(f"{subject}: {found}")
    return member.content.read().decode(errors="replace")
