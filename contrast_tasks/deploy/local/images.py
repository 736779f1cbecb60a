"""Unpacked images of the project's layouts, one folder per digest.

Pods run from these folders, so their files must be those that the policies' digests stand for: if a file was changed or
removed, the image is unpacked again. Added files are ignored, because applications may write files.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contrast_tasks.decode import DecodeError, Json, parse_json
from contrast_tasks.errors import ImageError
from contrast_tasks.files import canonical_json, write_atomic
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.images.resolve import ResolvedImage

_RECORD = "unpacked.json"
_ROOTFS = "rootfs"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackedImage:
    """An image in the form that plans need; digest: `sha256:...`, rootfs: its root folder.

    unpacking: new each time the image is unpacked, so that pods of a damaged image are replaced.
    """

    digest: str
    rootfs: Path
    unpacking: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str


Unpack = Callable[[str], UnpackedImage]
"""Returns the image of a pinned reference; raises ImageError."""


def unpacker(settings: Settings, paths: LocalPaths, say: Say) -> Unpack:
    """Return the function that unpacks images of the project's layouts, each into the folder of its digest."""
    from contrast_tasks.images.layout import declared_layouts, find_layout
    from contrast_tasks.pods.references import parse_reference

    layouts = declared_layouts(settings)
    done: dict[str, UnpackedImage] = {}

    def unpacked(text: str) -> UnpackedImage:
        if text in done:
            return done[text]
        reference = parse_reference(text)
        if reference.digest is None:
            raise ImageError(f"image {text} has no digest", hint="run generate, which pins images")
        layout = find_layout(layouts, reference)
        if layout is None:
            raise ImageError(
                f"image {text} is in no image layout of {', '.join(settings.layouts)}",
                hint="platform local runs images from layouts only; run lock",
            )
        image = layout.image(reference)
        folder = paths.images / image.digest.removeprefix("sha256:")
        unpacking = ensure_unpacked(image, folder, say)
        config = image.config
        done[text] = UnpackedImage(
            digest=image.digest,
            rootfs=folder / _ROOTFS,
            unpacking=unpacking,
            entrypoint=tuple(config.entrypoint),
            cmd=tuple(config.cmd),
            env=dict(entry.split("=", 1) for entry in config.env if "=" in entry),
            working_dir=config.working_dir,
        )
        return done[text]

    return unpacked


def ensure_unpacked(image: "ResolvedImage", folder: Path, say: Say) -> str:
    """Unpack `image` to `folder`/rootfs unless it is there unchanged; return the `unpacking`, 64 hex digits."""
    from contrast_tasks.images.unpack import unpack

    rootfs, record = folder / _ROOTFS, folder / _RECORD
    known = _read_record(record)
    if known is not None and _is_unchanged(rootfs, known.at("files")):
        return known.at("unpacking").text()
    if rootfs.is_dir():
        if known is not None:
            say(f"image {image.reference} was changed in {folder}, unpacked it anew")
        shutil.rmtree(rootfs)
    record.unlink(missing_ok=True)
    unpack(image, rootfs)
    unpacking = secrets.token_hex(32)
    files = {_to_text(path): _state(rootfs / path) for path in sorted(_paths(rootfs))}
    write_atomic(record, canonical_json({"files": files, "unpacking": unpacking}))
    return unpacking


def _read_record(record: Path) -> Json | None:
    """Return the record that was written when the image was unpacked, None if it cannot be read."""
    with contextlib.suppress(OSError, DecodeError):
        document = parse_json(record.read_bytes())
        document.at("files").members()
        document.at("unpacking").text()
        return document
    return None


def _is_unchanged(rootfs: Path, files: Json) -> bool:
    try:
        return all(
            _state(rootfs / _to_path(text)) == state.value for text, state in files.members()
        )
    except (OSError, ValueError):
        return False


def _paths(rootfs: Path) -> Iterator[str]:
    yield "."
    for folder, folders, files in os.walk(rootfs):
        for name in (*folders, *files):
            yield (Path(folder) / name).relative_to(rootfs).as_posix()


def _to_text(path: str) -> str:
    """Return a path for JSON, one character per byte, because names in images need not be UTF-8."""
    return os.fsencode(path).decode("latin-1")


def _to_path(text: str) -> str:
    return os.fsdecode(text.encode("latin-1"))


def _state(path: Path) -> list[Any]:
    """Return mode, size, time and link target; of a folder only the mode, because added files change the rest."""
    status = path.lstat()
    if path.is_symlink():
        return [status.st_mode, _to_text(os.readlink(path))]  # noqa: PTH115  # as text
    if path.is_dir():
        return [status.st_mode]
    return [status.st_mode, status.st_size, status.st_mtime_ns]
