"""Unpack an image into a directory; the image cannot change anything outside of it.

Rules, each with a test:
- a leading `/` of a name is the image's root;
- `..`, device nodes, FIFOs, sparse files and paths that leave the root through a link are refused;
- parent directories are resolved one by one, and links among them inside the root, as in a container;
- an absolute link target is relative to the image's root and is written as such; one above the root is refused;
- whiteouts affect only lower layers (OCI image specification 1.1, "Whiteouts");
- owners, times, setuid, setgid and sticky bits are dropped: all files belong to the calling user.

For a container, whose root the directory becomes, these differ: links stay as they are, because the kernel resolves them inside
the root; permissions, times and capabilities of files are kept, and owners where the caller may set them; devices and the like
are left out below /dev, over which every container has a file system of its own.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import Kind, Member
from contrast_tasks.images.layers import MAX_DEPTH, member_path, open_layer, whiteout_target
from contrast_tasks.images.resolve import ResolvedImage

_MAX_LINKS = 40  # the kernel's limit for resolving one path
MAX_BYTES = 8 << 30
MAX_MEMBERS = 1_000_000

Use = Literal["here", "container", "container of one user"]
"""Who will read the files: programs of this machine, or a container, whose owners exist, or one that has only one user."""


def unpack(
    image: ResolvedImage, target: Path, *, use: Use = "here", max_bytes: int = MAX_BYTES
) -> None:
    """Unpack all layers into the new directory `target`, or leave nothing behind on failure. Raises ImageError.

    max_bytes: limit for all regular files together.
    """
    if target.exists():
        raise ImageError(f"cannot unpack image {image.reference}: {target.name} already exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        rootfs = Rootfs(work, subject=f"image {image.reference}", use=use, max_bytes=max_bytes)
        for descriptor, diff_id in zip(image.layers, image.diff_ids, strict=True):
            with image.source.open_blob(image.reference, descriptor) as stream:
                rootfs.apply(stream, diff_id=diff_id)
        if use == "here":
            rootfs.check_links()
        work.chmod(0o755)
        work.rename(target)
    except OSError as err:
        _remove(work)
        message = f"cannot unpack image {image.reference}: {err.strerror}"
        raise ImageError(message) from err
    except BaseException:
        _remove(work)
        raise


class Rootfs:
    """A directory to which layers are applied, from the bottom up."""

    def __init__(
        self, root: Path, *, subject: str, use: Use = "here", max_bytes: int = MAX_BYTES
    ) -> None:
        self._root = root
        self._subject = subject
        self._is_container = use != "here"
        self._sets_owners = use == "container"
        self._bytes_left = max_bytes
        self._members_left = MAX_MEMBERS

    def apply(self, stream: BinaryIO, *, diff_id: str) -> None:
        """Apply one layer; `stream` is read twice, the first time for whiteouts."""
        with open_layer(stream, diff_id=diff_id, subject=self._subject) as (_, members):
            for member in members:
                self._members_left -= 1
                if self._members_left < 0:
                    raise self._refuse(member.name, f"more than {MAX_MEMBERS} members")
                target = whiteout_target(member_path(member.name, self._subject), self._subject)
                if target is not None:
                    self._white_out(target)
        stream.seek(0)
        with open_layer(stream, diff_id=diff_id, subject=self._subject) as (_, members):
            for member in members:
                parts = member_path(member.name, self._subject)
                if whiteout_target(parts, self._subject) is None:
                    self._add(member, parts)

    def check_links(self) -> None:
        """Refuse links that lead out of the root, directly or through other links."""
        real_root = os.path.realpath(self._root)
        for folder, folders, files in os.walk(self._root):
            for name in folders + files:
                path = os.path.join(folder, name)  # noqa: PTH118  # many names, and plain strings
                if not os.path.islink(path):  # noqa: PTH114
                    continue
                found = os.path.realpath(path)
                if found != real_root and not found.startswith(real_root + os.sep):
                    shown = os.path.relpath(path, self._root)
                    raise self._refuse(shown, "a link out of the root")

    def _refuse(self, name: str, problem: str) -> ImageError:
        return ImageError(f"{self._subject}: cannot unpack {name!r}: {problem}")

    def _add(self, member: Member, parts: Sequence[str]) -> None:
        if not parts:
            if member.kind is not Kind.FOLDER:
                raise self._refuse(member.name, "the root is not a directory")
            return
        if self._is_container and member.kind is Kind.OTHER and parts[0] == "dev":
            return
        path = self._parent(parts, member.name, create=True) / parts[-1]
        if member.kind is Kind.FOLDER:
            self._make_folder(member, path)
        elif member.kind is Kind.FILE:
            self._clear(path)
            self._write(member, path)
        elif member.kind is Kind.SYMLINK:
            link = self._link_text(member, path)
            self._clear(path)
            path.symlink_to(link)
            if self._sets_owners:
                os.lchown(path, *member.owner)
        elif member.kind is Kind.HARDLINK:
            source = self._hard_link_source(member)
            if source != path:
                self._clear(path)
                os.link(source, path, follow_symlinks=False)
        else:
            raise self._refuse(member.name, "neither a file, a directory nor a link")

    def _parent(self, parts: Sequence[str], name: str, *, create: bool) -> Path:
        """Return the real parent directory of a path, following links inside the root as in a container."""
        walked: list[str] = []
        left = list(reversed(parts[:-1]))
        links = 0
        while left:
            part = left.pop()
            if part == "..":
                # In a container, the parent of the root is the root itself; here it would be outside.
                if not walked and not self._is_container:
                    raise self._refuse(name, "a link out of the root")
                walked = walked[:-1]
                continue
            path = self._root.joinpath(*walked, part)
            mode = _mode(path)
            if mode is not None and stat.S_ISLNK(mode):
                links += 1
                if links > _MAX_LINKS:
                    raise self._refuse(name, "too many links on the way")
                target = str(path.readlink())
                if target.startswith("/"):
                    walked = []
                left += [item for item in reversed(target.split("/")) if item not in {"", "."}]
                continue
            if len(walked) == MAX_DEPTH:
                raise self._refuse(name, "links lead to too deep a folder")
            if mode is None and create:
                path.mkdir(mode=0o755)
            elif mode is None or not stat.S_ISDIR(mode):
                raise self._refuse(name, f"{'/'.join((*walked, part))} is not a directory")
            walked.append(part)
        return self._root.joinpath(*walked)

    def _make_folder(self, member: Member, path: Path) -> None:
        mode = _mode(path)
        # A lower layer has a link to a directory, which stays in use; in a container it cannot be followed here.
        if (
            mode is not None
            and stat.S_ISLNK(mode)
            and (self._is_folder_inside(path) if self._is_container else path.is_dir())
        ):
            return
        if mode is None or not stat.S_ISDIR(mode):
            self._clear(path)
            path.mkdir()
        if not self._is_container:
            path.chmod(0o755)
            return
        if self._sets_owners:
            os.chown(path, *member.owner)
        path.chmod(member.mode)

    def _is_folder_inside(self, link: Path) -> bool:
        """Return whether a link leads to a directory when it is resolved inside the root."""
        parts = (*link.relative_to(self._root).parts, "x")
        try:
            self._parent(parts, str(link), create=False)
        except ImageError:
            return False
        return True

    def _write(self, member: Member, path: Path) -> None:
        self._bytes_left -= member.size_bytes
        if self._bytes_left < 0:
            raise self._refuse(member.name, "the image unpacks to more bytes than allowed")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
            shutil.copyfileobj(member.content, stream)
            if not self._is_container:
                os.fchmod(stream.fileno(), (member.mode & 0o755) | 0o600)
                return
            stream.flush()
            if self._sets_owners:
                os.fchown(stream.fileno(), *member.owner)
            # In this order, because a new owner takes permissions and capabilities away.
            os.fchmod(stream.fileno(), member.mode)
            if member.capabilities and self._sets_owners:
                os.setxattr(stream.fileno(), "security.capability", member.capabilities)
            # Python compiles a module anew whose time is not the one that its compiled form names.
            os.utime(stream.fileno(), (member.mtime_s, member.mtime_s))

    def _link_text(self, member: Member, path: Path) -> str:
        depth = len(path.parent.relative_to(self._root).parts)
        target = member.link
        if "\0" in target:
            raise self._refuse(member.name, f"a link to {target!r}, which is not a file name")
        if self._is_container:
            return target or "."
        if target.startswith("/"):
            target = "../" * depth + target.lstrip("/")
        level = depth
        for part in target.split("/"):
            level += {"": 0, ".": 0, "..": -1}.get(part, 1)
            if level < 0:
                raise self._refuse(member.name, f"a link out of the root, to {member.link!r}")
        return target.rstrip("/") or "."

    def _hard_link_source(self, member: Member) -> Path:
        parts = member_path(member.link, self._subject)
        source = self._parent(parts, member.name, create=False) / parts[-1] if parts else self._root
        mode = _mode(source)
        if mode is None or not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            found = f"a hard link to {member.link!r}, which is not a file"
            raise self._refuse(member.name, found)
        return source

    def _white_out(self, target: Sequence[str]) -> None:
        with contextlib.suppress(ImageError):  # no lower layer has the path
            folder = self._parent(target, "/".join(target), create=False)
            if target[-1]:
                self._clear(folder / target[-1])
            else:
                for child in list(folder.iterdir()):
                    self._clear(child)

    def _clear(self, path: Path) -> None:
        mode = _mode(path)
        if mode is not None and stat.S_ISDIR(mode):
            _remove(path)
        elif mode is not None:
            path.unlink()


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except FileNotFoundError:
        return None


def _remove(path: Path) -> None:
    """Remove a directory and all below it without following links."""
    shutil.rmtree(path)
