"""The text of /etc/passwd and /etc/group of an image, read from its layers without unpacking them.

Policies resolve user names and groups with them (docs/internals/policy.md 4.4). Both may be links, or lie behind one, anywhere
inside the image's root, as runtimes follow them. A link's target is known only when it has been read, so layers are read again
for a file that none of the first paths was; of all other files nothing is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import Kind, Member
from contrast_tasks.images.layers import member_path, open_layer, whiteout_target

Parts = tuple[str, ...]
_PASSWD, _GROUP = ("etc", "passwd"), ("etc", "group")
_MAX_BYTES = 1 << 20  # of one file; usual ones have a few kilobytes
_MAX_LINKS = 40  # the kernel's limit for resolving one path
# Readings of all layers; a link to a link takes one more.
_MAX_READINGS = 8


class _Link(NamedTuple):
    """A symbolic link, with its target as written."""

    target: str


class _Unknown(NamedTuple):
    """A hard link to a file that was not looked for yet."""


Node = str | _Link | _Unknown


@dataclass(slots=True)
class Accounts:
    """The two files after the layers read so far; layers are added from the bottom up."""

    _wanted: set[Parts] = field(default_factory=lambda: {_PASSWD, _GROUP})
    _looked_for: frozenset[Parts] = frozenset({_PASSWD, _GROUP})
    _nodes: dict[Parts, Node] = field(default_factory=dict)
    _readings: int = 1

    @property
    def passwd(self) -> str:
        """Return the text of /etc/passwd, "" if the image has none."""
        return self._text(_PASSWD)

    @property
    def group(self) -> str:
        """Return the text of /etc/group, "" if the image has none."""
        return self._text(_GROUP)

    def starts_again(self) -> bool:
        """Return whether all layers are to be added once more, for a file that a link has led to.

        A link that leads on and on counts as none, and so does one to itself.
        """
        for name in (_PASSWD, _GROUP):
            found = _walk(name, self._nodes.get)
            if found is not None:
                self._wanted.add(found)
        if self._wanted == self._looked_for or self._readings == _MAX_READINGS:
            return False
        self._looked_for = frozenset(self._wanted)
        self._readings += 1
        self._nodes.clear()
        return True

    def add_layer(self, stream: BinaryIO, *, diff_id: str, subject: str) -> int:
        """Add the next layer and return its uncompressed size in bytes; raises what `open_layer` raises.

        Whiteouts affect only lower layers, wherever they are in the archive. A file that is neither regular nor a link
        counts as absent; the policy then refuses names that it cannot resolve.
        """
        layer = _Layer(self._nodes, self._looked_for)
        with open_layer(stream, diff_id=diff_id, subject=subject) as (reader, members):
            for member in members:
                layer.add(member, subject)
        self._nodes = layer.merged()
        self._wanted |= layer.sought
        return reader.size_bytes

    def _text(self, name: Parts) -> str:
        found = _walk(name, self._nodes.get)
        node = None if found is None else self._nodes.get(found)
        return node if isinstance(node, str) else ""


class _Layer:
    """What one layer has of the wanted files and of the folders and links on the way to them.

    sought: files that its hard links lead to and that are not among the wanted.
    """

    def __init__(self, lower: dict[Parts, Node], wanted: frozenset[Parts]) -> None:
        self._lower = lower
        self._own: dict[Parts, Node] = {}
        self._gone: set[Parts] = set()
        self._wanted = wanted
        self._places = {name[:end] for name in wanted for end in range(1, len(name) + 1)}
        self._has_links = any(isinstance(each, _Link) for each in lower.values())
        self.sought: set[Parts] = set()

    def add(self, member: Member, subject: str) -> None:
        """Add the next member of the archive."""
        parts = member_path(member.name, subject)
        target = whiteout_target(parts, subject)
        if target is not None:
            self._gone.add(self._place(target) or target)
            return
        place = self._place(parts)
        if place is None or place not in self._places:
            return
        node = self._node(member, place, subject)
        if member.kind is not Kind.FOLDER or isinstance(self._get(place), str | _Link):
            # What is no folder takes the place of one, with all in it, and a folder that of anything else.
            self._gone |= {place, (*place, "")}
            self._own = {
                name: each for name, each in self._own.items() if name[: len(place)] != place
            }
        if node is not None:
            self._own[place] = node
            self._has_links = self._has_links or isinstance(node, _Link)

    def merged(self) -> dict[Parts, Node]:
        """Return what is there with the lower layers."""
        left = {name: node for name, node in self._lower.items() if not self._is_gone(name)}
        return left | self._own

    def _node(self, member: Member, place: Parts, subject: str) -> Node | None:
        if member.kind is Kind.SYMLINK:
            return _Link(member.link)
        if member.kind is Kind.HARDLINK:
            return self._linked(member_path(member.link, subject))
        if member.kind is Kind.FILE:
            return _text(member, subject) if place in self._wanted else ""
        return None

    def _linked(self, target: Parts) -> Node | None:
        """Return what a hard link shares: what its target is at this point of the archive."""
        place = self._place(target)
        if place is None:
            return None
        if place in self._wanted:
            return self._get(place)
        self.sought.add(place)
        return _Unknown()

    def _place(self, parts: Parts) -> Parts | None:
        """Return where a member lands: the folders of its path may be links."""
        if not parts or not self._has_links:
            return parts
        folder = _walk(parts[:-1], self._get)
        return None if folder is None else (*folder, parts[-1])

    def _get(self, place: Parts) -> Node | None:
        if place in self._own:
            return self._own[place]
        return None if self._is_gone(place) else self._lower.get(place)

    def _is_gone(self, place: Parts) -> bool:
        """Return whether lower layers have a file in vain: a whiteout hides it or a folder that it is in."""
        if not self._gone:
            return False
        if place in self._gone:
            return True
        folders = (place[:end] for end in range(len(place)))
        return any(each in self._gone or (*each, "") in self._gone for each in folders)


def _walk(parts: Parts, node_at: Callable[[Parts], Node | None]) -> Parts | None:
    """Return where a path leads inside the root, None if it goes in circles or through a file."""
    found: Parts = ()
    left = [*reversed(parts)]
    links = 0
    while left:
        part = left.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            found = found[:-1]
            continue
        node = node_at((*found, part))
        if isinstance(node, _Link):
            links += 1
            if links > _MAX_LINKS:
                return None
            left += reversed(node.target.split("/"))
            found = () if node.target.startswith("/") else found
        elif node is not None and left:
            return None
        else:
            found = (*found, part)
    return found


def _text(member: Member, subject: str) -> str:
    if member.size_bytes > _MAX_BYTES:
        found = f"{member.name!r} has {member.size_bytes} bytes, at most {_MAX_BYTES} are read"
        raise ImageError(f"{subject}: {found}")
    return member.content.read().decode(errors="replace")
