"""Unpack an image into a directory; the image cannot change anything outside of it.

Rules, each with a test:
- a leading `/` of a name is the image's root;
- `..`, device nodes, FIFOs, sparse files and paths that leave the root through a link are refused;
- parent directories are resolved one by one, and links among them inside the root, as in a container;
- an absolute link target is relative to the image's root and is written as such; one above the root is refused;
- whiteouts affect only lower layers (OCI image specification 1.1, "Whiteouts");
- owners, times, setuid, setgid and sticky bits are dropped: all files belong to the calling user.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from contrast_tasks.errors import ImageError
from contrast_tasks.images.archives import Kind, Member
from contrast_tasks.images.layers import MAX_DEPTH, member_path, open_layer, whiteout_target
from contrast_tasks.images.resolve import ResolvedImage

_MAX_LINKS = 40  # the kernel's limit for resolving one path
MAX_BYTES = 8 << 30
MAX_MEMBERS = 1_000_000


def unpack(image: ResolvedImage, target: Path, *, max_bytes: int = MAX_BYTES) -> None:
    """Unpack all layers into the new directory `target`, or leave nothing behind on failure. Raises ImageError.

    max_bytes: limit for all regular files together.
    """
    if target.exists():
        raise ImageError(f"cannot unpack image {image.reference}: {target.name} already exists")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        rootfs = Rootfs(work, subject=f"image {image.reference}", max_bytes=max_bytes)
        for descriptor, diff_id in zip(image.layers, image.diff_ids, strict=True):
            with image.source.open_blob(image.reference, descriptor) as stream:
                rootfs.apply(stream, diff_id=diff_id)
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

    def __init__(self, root: Path, *, subject: str, max_bytes: int = MAX_BYTES) -> None:
        self._root = root
        self._subject = subject
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
        path = self._parent(parts, member.name, create=True) / parts[-1]
        if member.kind is Kind.FOLDER:
            self._make_folder(path)
        elif member.kind is Kind.FILE:
            self._clear(path)
            self._write(member, path)
        elif member.kind is Kind.SYMLINK:
            link = self._link_text(member, path)
            self._clear(path)
            path.symlink_to(link)
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
                if not walked:
                    raise self._refuse(name, "a link out of the root")
                walked.pop()
                continue
            path = self._root.joinpath(*walked, part)
            mode = _mode(path)
            if mode is not None and stat.S_ISLNK(mode):
                links += 1
                if links > _MAX_LINKS:
                    raise self._refuse(name, "too many links on the way")
                target = str(path.readlink())
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

    def _make_folder(self, path: Path) -> None:
        mode = _mode(path)
        if mode is not None and stat.S_ISLNK(mode) and path.is_dir():
            return  # a lower layer has a link to a directory, which stays in use
        if mode is None or not stat.S_ISDIR(mode):
            self._clear(path)
            path.mkdir()
        path.chmod(0o755)

    def _write(self, member: Member, path: Path) -> None:
        self._bytes_left -= member.size_bytes
        if self._bytes_left < 0:
            raise self._refuse(member.name, "the image unpacks to more bytes than allowed")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(path, flags, 0o600), "wb") as stream:
            shutil.copyfileobj(member.content, stream)
            os.fchmod(stream.fileno(), (member.mode & 0o755) | 0o600)

    def _link_text(self, member: Member, path: Path) -> str:
        depth = len(path.parent.relative_to(self._root).parts)
        target = member.link
        if "\0" in target:
            raise self._refuse(member.name, f"a link to {target!r}, which is not a file name")
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
