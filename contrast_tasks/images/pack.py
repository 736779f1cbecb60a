"""Pack files into images whose digests depend only on names, contents and executable bits.

Layers are uncompressed tar archives, since compressors differ between machines. With owner 0:0, time 0, modes 0644 and
0755 and sorted names, a digest does not depend on umask, user, clock or file system order.
"""

import io
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from contrast_tasks.errors import ImageError
from contrast_tasks.files import canonical_json, write_atomic
from contrast_tasks.images.compression import stored_in_gzip
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.documents import (
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    PLATFORM,
    Descriptor,
    digest_of,
    render_config,
)
from contrast_tasks.images.layout import LAYOUT_FILE, LAYOUT_VERSION, REF_NAME
from contrast_tasks.pods.references import parse_reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file, symbolic link or folder of a layer; path: relative to the image's root, with `/`.

    link: what a symbolic link points to. is_folder: also where no file lies below it; is_shared: anybody may write there, and
    remove only what is his own, as in /tmp. owner: number of its user and group.
    """

    path: str
    content: bytes = b""
    executable: bool = False
    link: str = ""
    is_folder: bool = False
    is_shared: bool = False
    owner: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedImage:
    """A packed image: its entry in the layout's index, and its blobs by digest."""

    descriptor: Descriptor
    blobs: Mapping[str, bytes]

    @property
    def reference(self) -> str:
        """Return the reference the image was packed for."""
        return self.descriptor.annotations[REF_NAME]


def render_layer(entries: Iterable[Entry]) -> bytes:
    """Return the tar archive of the entries and their directories, sorted by path.

    Raises ImageError for an absolute path, one that contains `..`, and a duplicate (also as directory and file); the same
    folder may occur several times.
    """
    files: dict[str, Entry] = {}
    folders: dict[str, Entry] = {}
    for entry in entries:
        parts = entry.path.split("/")
        if any(part in {"", ".", ".."} for part in parts):
            raise ImageError(f"cannot pack {entry.path!r}: wanted a plain relative path")
        if entry.is_folder:
            folders[entry.path] = _either(entry, folders.get(entry.path))
            continue
        if entry.path in files:
            raise ImageError(f"cannot pack {entry.path!r}: it occurs twice")
        files[entry.path] = entry
    for path in [*files, *folders]:
        for parent in PurePosixPath(path).parents[:-1]:
            folders.setdefault(parent.as_posix(), Entry(path=parent.as_posix(), is_folder=True))
    for path in sorted(folders.keys() & files.keys()):
        raise ImageError(f"cannot pack {path!r}: it is a file and a directory")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for _, entry in sorted((folders | files).items()):
            _add(archive, entry)
    return buffer.getvalue()


def _either(entry: Entry, other: Entry | None) -> Entry:
    """Return which of two descriptions of a folder holds: the one that shares it or gives it away."""
    return other if other is not None and (other.is_shared or other.owner) else entry


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    # A fresh TarInfo has owner 0:0, no names and time 0.
    member = tarfile.TarInfo(entry.path)
    member.uid = member.gid = entry.owner
    if entry.is_folder:
        member.type = tarfile.DIRTYPE
        member.mode = 0o1777 if entry.is_shared else 0o755
        archive.addfile(member)
    elif entry.link:
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, entry.link, 0o777
        archive.addfile(member)
    else:
        member.mode = 0o755 if entry.executable else 0o644
        member.size = len(entry.content)
        archive.addfile(member, io.BytesIO(entry.content))


def pack_image(
    reference: str,
    config: ImageConfig,
    layers: Sequence[Sequence[Entry]],
    *,
    title: str = "",
    in_gzip: bool = False,
) -> PackedImage:
    """Return the image; layers: from the bottom up. Equal layers of two images become one blob.

    title: what the image's label says, by default the reference; with one of its own an image is the same in every registry.
    in_gzip: layers are stored in gzip, though not compressed, for nodes that read no other form.
    """
    parse_reference(reference)
    blobs: dict[str, bytes] = {}

    def add(content: bytes, media_type: str) -> Descriptor:
        digest = digest_of(content)
        blobs[digest] = content
        return Descriptor(media_type=media_type, digest=digest, size_bytes=len(content))

    archives = [render_layer(entries) for entries in layers]
    diff_ids = [digest_of(archive) for archive in archives]
    layer_descriptors = [
        add(stored_in_gzip(archive), f"{OCI_LAYER}+gzip") if in_gzip else add(archive, OCI_LAYER)
        for archive in archives
    ]
    labels = {"org.opencontainers.image.title": title or reference}
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
    directory: Path, images: Iterable[PackedImage], *, kept: Sequence[Descriptor] = ()
) -> bool:
    """Make `directory` an OCI layout of exactly these images; return whether anything changed.

    kept: entries of images that the layout already has; if there are any, no blob is removed.
    The index is written after new blobs and before old blobs are removed, so that readers find each blob it names.
    """
    packed = sorted(images, key=lambda image: image.reference)
    for before, after in pairwise(packed):
        if before.reference == after.reference:
            raise ImageError(f"image {before.reference} is packed twice")
    blobs = {digest: content for image in packed for digest, content in image.blobs.items()}
    entries = [*(image.descriptor for image in packed), *kept]
    # Sorted, so that the order does not depend on which task wrote which image.
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
    if folder.is_dir() and not kept:
        for file in folder.iterdir():
            if f"sha256:{file.name}" not in blobs:
                file.unlink()
                changed = True
    return changed
