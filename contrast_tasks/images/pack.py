"""Packing files into images whose bytes depend on nothing but names, contents and the executable mark.

Layers are uncompressed tar archives: compressors differ between machines. Owner 0:0, time 0, modes 0644 and
0755, names sorted, so neither umask, user, clock nor file system order can be seen in a digest.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from contrast_tasks.errors import ImageError
from contrast_tasks.files import canonical_json, write_atomic
from contrast_tasks.images.documents import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    PLATFORM,
    Descriptor,
    ImageConfig,
    digest_of,
    render_config,
)
from contrast_tasks.images.layout import LAYOUT_FILE, LAYOUT_VERSION, REF_NAME
from contrast_tasks.pods.references import parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One regular file of a layer; `path` is relative to the image's root, with `/`."""

    path: str
    content: bytes
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedImage:
    """An image ready to be written: its entry in the layout's index, and all blobs by digest."""

    descriptor: Descriptor
    blobs: Mapping[str, bytes]

    @property
    def reference(self) -> str:
        """Return the reference the image was packed for."""
        return self.descriptor.annotations[REF_NAME]


def render_layer(entries: Iterable[Entry]) -> bytes:
    """Return the tar archive of the entries and their directories, sorted by path.

    Raises ImageError for paths that are absolute, hold `..` or are there twice (also as directory and file).
    """
    files: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.path.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise ImageError(f"cannot pack {entry.path!r}: wanted a plain relative path")
        if entry.path in files:
            raise ImageError(f"cannot pack {entry.path!r}: it is there twice")
        files[entry.path] = entry
    folders = {parent.as_posix() for path in files for parent in Path(path).parents} - {"."}
    for path in sorted(folders & files.keys()):
        raise ImageError(f"cannot pack {path!r}: it is a file and a directory")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folders | files.keys()):
            _add(archive, path, files.get(path))
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, path: str, entry: Entry | None) -> None:
    # A fresh TarInfo has owner 0:0, no names and time 0.
    member = tarfile.TarInfo(path)
    if entry is None:
        member.type = tarfile.DIRTYPE
        member.mode = 0o755
        archive.addfile(member)
        return
    member.mode = 0o755 if entry.executable else 0o644
    member.size = len(entry.content)
    archive.addfile(member, io.BytesIO(entry.content))


def pack_image(
    reference: str, config: ImageConfig, layers: Sequence[Sequence[Entry]]
) -> PackedImage:
    """Return the image; layers from the bottom up. Equal layers of two images are one blob."""
    parse_reference(reference)
    blobs: dict[str, bytes] = {}

    def add(content: bytes, media_type: str) -> Descriptor:
        digest = digest_of(content)
        blobs[digest] = content
        return Descriptor(media_type=media_type, digest=digest, size_bytes=len(content))

    layer_descriptors = [add(render_layer(entries), OCI_LAYER) for entries in layers]
    diff_ids = [descriptor.digest for descriptor in layer_descriptors]  # not compressed
    labels = {"org.opencontainers.image.title": reference}
    config_descriptor = add(canonical_json(render_config(config, diff_ids, labels)), OCI_CONFIG)
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config_descriptor.to_json(),
        "layers": [descriptor.to_json() for descriptor in layer_descriptors],
    }
    found = add(canonical_json(manifest), OCI_MANIFEST)
    os_name, architecture = PLATFORM
    descriptor = Descriptor(
        media_type=OCI_MANIFEST,
        digest=found.digest,
        size_bytes=found.size_bytes,
        os=os_name,
        architecture=architecture,
        annotations={REF_NAME: reference},
    )
    return PackedImage(descriptor=descriptor, blobs=blobs)


def write_layout(
    directory: Path, images: Iterable[PackedImage], *, beside: Sequence[Descriptor] = ()
) -> bool:
    """Make `directory` an OCI layout of exactly these images; return whether anything changed.

    beside: entries of images whose blobs are there already; with any, no blob is removed.
    The index is written after the blobs it names, and blobs it no longer names are removed last, so a reader
    never misses one.
    """
    packed = sorted(images, key=lambda image: image.reference)
    for before, after in pairwise(packed):
        if before.reference == after.reference:
            raise ImageError(f"image {before.reference} is packed twice")
    blobs = {digest: content for image in packed for digest, content in image.blobs.items()}
    entries = [*(image.descriptor for image in packed), *beside]
    # The order says nothing of which task wrote what.
    entries.sort(key=lambda entry: entry.annotations.get(REF_NAME, ""))
    folder = directory / "blobs" / "sha256"
    changed = False
    for digest, content in sorted(blobs.items()):
        changed |= write_atomic(folder / digest.removeprefix("sha256:"), content)
    marker = canonical_json({"imageLayoutVersion": LAYOUT_VERSION})
    changed |= write_atomic(directory / LAYOUT_FILE, marker)
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry.to_json() for entry in entries],
    }
    changed |= write_atomic(directory / "index.json", canonical_json(index))
    if folder.is_dir() and not beside:
        for file in folder.iterdir():
            if f"sha256:{file.name}" not in blobs:
                file.unlink()
                changed = True
    return changed
