"""OCI image layouts: a directory with each blob under its digest, and an index that names the images.

An image's name is the annotation `org.opencontainers.image.ref.name` of its descriptor in index.json; the layouts of
this tool use the whole reference. Source: OCI image specification 1.1, "image-layout".
"""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.documents import (
    Descriptor,
    ImageManifest,
    digest_of,
    parse_index_or_manifest,
)
from contrast_tasks.images.resolve import (
    MAX_DOCUMENT_BYTES,
    ResolvedImage,
    check_blob,
    resolve_image,
)
from contrast_tasks.pods.references import ImageReference, parse_reference

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_FILE = "oci-layout"
LAYOUT_VERSION = "1.0.0"


class Layout:
    """A layout on disk, an ImageSource."""

    def __init__(self, directory: Path, *, name: str | None = None) -> None:
        """Read the index of the layout in `directory`; messages call it `name`.

        Raises ImageError if it is not a layout or names two images alike.
        """
        self.directory = directory
        self.name = name or str(directory)
        marker_file = f"{self.name}/{LAYOUT_FILE}"
        try:
            marker = parse_json(_read(directory / LAYOUT_FILE, marker_file))
            found = marker.at("imageLayoutVersion").text()
        except DecodeError as err:
            raise ImageError(str(err), where=Location(file=marker_file)) from err
        if found != LAYOUT_VERSION:
            message = f"image layout version is {found!r}, wanted {LAYOUT_VERSION!r}"
            raise ImageError(message, where=Location(file=marker_file))
        index_file = f"{self.name}/index.json"
        index = parse_index_or_manifest(_read(directory / "index.json", index_file), index_file)
        if isinstance(index, ImageManifest):
            raise ImageError("found an image, wanted an index", where=Location(file=index_file))
        self._descriptors = index
        self._by_name: dict[str, Descriptor] = {}
        for descriptor in index:
            name = descriptor.annotations.get(REF_NAME, "")
            if not name:
                continue
            canonical = parse_reference(name, where=Location(file=index_file)).canonical
            if self._by_name.get(canonical, descriptor).digest != descriptor.digest:
                raise ImageError(
                    f"two images have the name {name}", where=Location(file=index_file)
                )
            self._by_name[canonical] = descriptor

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """Return the entries of the index, in its order."""
        return tuple(self._descriptors)

    @property
    def references(self) -> tuple[str, ...]:
        """Return the names of all images, sorted."""
        names = (entry.annotations.get(REF_NAME, "") for entry in self._descriptors)
        return tuple(sorted(name for name in names if name))

    def find(self, reference: ImageReference) -> Descriptor | None:
        """Return the entry of a reference, by its digest if it has one, otherwise by its name."""
        if reference.digest is None:
            return self._by_name.get(reference.canonical)
        for name, descriptor in self._by_name.items():
            parsed = parse_reference(name)
            same = (parsed.registry, parsed.repository) == (
                reference.registry,
                reference.repository,
            )
            if same and descriptor.digest == reference.digest:
                return descriptor
        return None

    def manifest(self, reference: ImageReference) -> bytes:
        """Return the index or manifest of a reference; raises ImageError if the layout has none."""
        if reference.digest is not None:
            return self._read_blob(reference.digest, f"image {reference}")
        found = self.find(reference)
        if found is None:
            raise ImageError(f"image {reference}: not in the layout {self.name}")
        return self._read_blob(found.digest, f"image {reference}")

    def open_blob(self, reference: ImageReference, descriptor: Descriptor) -> BinaryIO:
        """Check size and digest of a blob and open it for reading and seeking; raises ImageError."""
        del reference  # a layout keeps the blobs of all images together
        stream = self._open(descriptor.digest)
        try:
            check_blob(stream, descriptor, f"layout {self.name}")
        except ImageError:
            stream.close()
            raise
        return stream

    def image(self, reference: ImageReference) -> ResolvedImage:
        """Return the linux/amd64 image of a reference, checked; raises ImageError."""
        return resolve_image(reference, self)

    def _open(self, digest: str) -> BinaryIO:
        path = self.directory / "blobs" / digest.replace(":", "/")
        try:
            return path.open("rb")
        except OSError as err:
            found = f"blob {digest} cannot be read: {err.strerror}"
            raise ImageError(f"layout {self.name}: {found}") from err

    def _read_blob(self, digest: str, subject: str) -> bytes:
        with self._open(digest) as stream:
            content = stream.read(MAX_DOCUMENT_BYTES + 1)
        if len(content) > MAX_DOCUMENT_BYTES:
            found = f"{digest} has more than the {MAX_DOCUMENT_BYTES} bytes that are read"
            raise ImageError(f"{subject}: layout {self.name}: {found}")
        if digest_of(content) != digest:
            found = f"layout {self.name} has other content under {digest}"
            raise ImageError(f"{subject}: {found}", hint="remove the layout and make it again")
        return content


def open_layouts(root: Path, names: Iterable[str]) -> list[Layout]:
    """Return the layouts that exist among `names`, which are relative to `root`."""
    return [Layout(root / name, name=name) for name in names if (root / name).is_dir()]


def find_layout(layouts: Iterable[Layout], reference: ImageReference) -> Layout | None:
    """Return the first layout that has an image of this reference."""
    return next((layout for layout in layouts if layout.find(reference) is not None), None)


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        message = f"cannot read the image layout: {err.strerror}"
        raise ImageError(message, where=Location(file=name)) from err
