"""The index that the layer snapshotter of AKS appends to a layer, so that the guest can mount the archive as it is.

All integers are little endian, and every quirk is copied: a root hash that differs from the node's denies the pod.
Source: docs/internals/aks.md 2.2-2.4.
"""

import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from contrast_tasks.images import lost
from contrast_tasks.images.layers import OPAQUE, WHITEOUT
from contrast_tasks.images.tar_headers import DamagedTar, TarMember

# Of one layer, so that memory is bounded; large images have some hundred thousand files.
MAX_NODES = 1_000_000
_BLOCK_BYTES = 4096
_INODE = struct.Struct("<HBBIIIQQ")
_ENTRY = struct.Struct("<QQQB7x")
_SUPER = struct.Struct("<QQ")
_SUPER_OFFSET = 3584
_OPAQUE_FLAG = 1
_FIFO, _CHAR, _DIRECTORY, _DEVICE, _REGULAR, _LINK = (
    0x1000,
    0x2000,
    0x4000,
    0x6000,
    0x8000,
    0xA000,
)
_TYPE = 0xF000
_PERMISSIONS = 0o777
_SETUID_SETGID = 0o6000
_KINDS = {
    b"0": _REGULAR,
    b"\0": _REGULAR,
    b"2": _LINK,
    b"3": _CHAR,
    b"4": _DEVICE,
    b"5": _DIRECTORY,
    b"6": _FIFO,
}
_HARD_LINK = b"1"
_CAPABILITY = b"SCHILY.xattr.security.capability"
_U32 = 0xFFFFFFFF


@dataclass(slots=True, eq=False)
class _Node:
    """A file. mode: with the type's bits, 0 for a parent that has no entry. is_long: its target stands behind the archive."""

    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    offset: int = 0
    is_opaque: bool = False
    is_long: bool = False
    number: int = 0
    children: dict[bytes, "_Node"] = field(default_factory=dict)

    @property
    def kind(self) -> int:
        return self.mode & _TYPE


class TarIndex:
    """The tree of a layer's files, from which the index is made."""

    def __init__(self) -> None:
        self._root = _Node(mode=_DIRECTORY | 0o555)
        self._nodes = 1
        self._long_links: list[bytes] = []
        self._is_privileged = self._is_hidden = False

    def add(self, member: TarMember) -> None:
        """Take the next member of the archive; raises DamagedTar for more files than are read."""
        if member.mode is None:
            return
        if member.kind == _HARD_LINK:
            self._add_link(member)
            return
        kind = _KINDS.get(member.kind, 0)
        if not kind or (kind == _LINK and member.target is None):
            return
        if kind in (_CHAR, _DEVICE) and member.device is None:
            return
        node = _Node(
            mode=kind | member.mode & _PERMISSIONS,
            uid=member.uid & _U32,
            gid=member.gid & _U32,
            mtime=member.mtime,
        )
        if kind == _REGULAR:
            node.size, node.offset = member.size, member.data
        elif kind == _LINK and member.target is not None:
            self._point(node, member, member.target)
        elif member.device is not None and kind in (_CHAR, _DEVICE):
            node.offset = member.device[1] | member.device[0] << 32
        self._is_privileged |= bool(
            kind == _REGULAR and (member.mode & _SETUID_SETGID or _CAPABILITY in member.keys)
        )
        self._place(_parts(member.name), node)

    def tail(self, size: int) -> bytes:
        """Return what follows an archive of `size` bytes; with it, the file has a multiple of 4,096 bytes.

        Directories, names and numbers come breadth first. A file that is reached twice has one number, but a directory's
        entries are written each time.
        """
        visited = list(self._visited())
        written = []
        for node in visited:
            if not node.number:
                written.append(node)
                node.number = len(written)
        place = size + _INODE.size * len(written)
        folders = [node for node in visited if node.kind == _DIRECTORY]
        for node in folders:
            node.offset, node.size = place, _ENTRY.size * len(node.children)
            place += node.size
        for node in visited:
            if node.is_long:
                node.offset = place
                place += node.size
        inodes = b"".join(map(_inode, written))
        entries, names = bytearray(), bytearray()
        for folder in folders:
            for name, node in sorted(folder.children.items()):
                kind = node.kind >> 12
                entries += _ENTRY.pack(node.number, place + len(names), len(name), kind)
                names += name
        links = b"".join(self._long_links)
        # The lengths of names and links count twice, once for the place and once for the text.
        end = -(-(place + len(names) + len(links) + len(names)) // _BLOCK_BYTES) * _BLOCK_BYTES
        tail = inodes + entries + links + names
        super_block = bytearray(_BLOCK_BYTES)
        _SUPER.pack_into(super_block, _SUPER_OFFSET, size, len(written))
        return tail + bytes(end - size - len(tail)) + super_block

    def lost(self) -> tuple[str, ...]:
        """Return what the guest does not see of the layer, as named in `images.lost`."""
        found = {
            lost.HIDDEN: self._is_hidden or any(not node.kind for node in self._visited()),
            lost.LINKS: len(self._long_links) > 1,
            lost.SETUID: self._is_privileged,
        }
        return tuple(name for name in lost.LOST if found[name])

    def _point(self, node: _Node, member: TarMember, target: bytes) -> None:
        node.size = len(target)
        if target == member.header_link:
            node.offset = member.link_position
        else:
            node.is_long = True
            self._long_links.append(target)

    def _place(self, parts: list[bytes] | None, node: _Node) -> None:
        if parts is None:
            return
        name = parts[-1] if parts else b""
        if name == OPAQUE.encode():
            self._node_at(parts[:-1]).is_opaque = True
            return
        if name.startswith(WHITEOUT.encode()):
            gone = self._node_at([*parts[:-1], name.removeprefix(WHITEOUT.encode())])
            gone.children = {}
            gone.mode = gone.mode & ~_TYPE | _CHAR
            gone.size = gone.offset = 0
            gone.is_long = False
            return
        # In place, since another name may be a hard link to it.
        old = self._node_at(parts)
        self._is_hidden |= node.kind == _DIRECTORY and bool(old.children)
        for each in ("mode", "uid", "gid", "mtime", "size", "offset", "is_long"):
            setattr(old, each, getattr(node, each))
        old.is_opaque, old.children = False, {}

    def _add_link(self, member: TarMember) -> None:
        target = None if member.target is None else _parts(member.target)
        if target is None:
            return
        existing = self._node_at(target)
        parts = _parts(member.name)
        if existing.kind != _REGULAR or parts is None:
            return
        if parts:
            self._node_at(parts[:-1]).children[parts[-1]] = existing
        else:
            self._root = existing

    def _node_at(self, parts: list[bytes]) -> _Node:
        """Return the node at a path; what is missing on the way is made, without a type."""
        node = self._root
        for part in parts:
            child = node.children.get(part)
            if child is None:
                self._nodes += 1
                if self._nodes > MAX_NODES:
                    raise DamagedTar(f"it has more than {MAX_NODES} files and folders")
                child = node.children[part] = _Node()
            node = child
        return node

    def _visited(self) -> Iterator[_Node]:
        """Yield all nodes breadth first, children by name; one with two names comes twice."""
        left, count = deque([self._root]), 0
        while left:
            node = left.popleft()
            count += 1
            if count > MAX_NODES:
                raise DamagedTar(f"it has more than {MAX_NODES} files and folders")
            yield node
            left.extend(node.children[name] for name in sorted(node.children))


def _parts(name: bytes) -> list[bytes] | None:
    """Return a name as path components, None if `..` leads out of the root."""
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                return None
            parts.pop()
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _inode(node: _Node) -> bytes:
    return _INODE.pack(
        node.mode,
        _OPAQUE_FLAG if node.is_opaque else 0,
        node.mtime >> 32 & 0xF,
        node.uid,
        node.gid,
        node.mtime & _U32,
        node.size,
        node.offset,
    )
