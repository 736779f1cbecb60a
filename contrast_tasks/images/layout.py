"""OCI image layouts: a directory with each blob under its digest, and an index that names the images.

An image's name is an annotation of its descriptor in index.json. Which one, and how much of the name, depends on the
program: this tool and skopeo write the whole reference as `org.opencontainers.image.ref.name`; docker save, buildx and
containerd write only the tag there, and the reference as `io.containerd.image.name`. An entry whose name cannot be
understood spoils no other. Source: OCI image specification 1.1, "image-layout"; containerd's exporter.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from contrast_tasks.decode import DecodeError, parse_json
from contrast_tasks.errors import ImageError, Location
from contrast_tasks.images.documents import (
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    ImageManifest,
    digest_of,
    parse_index_or_manifest,
)
from contrast_tasks.images.resolve import (
    MAX_DOCUMENT_BYTES,
    MAX_LEVELS,
    ResolvedImage,
    check_blob,
    resolve_image,
)
from contrast_tasks.pods.references import ImageReference, parse_reference
from contrast_tasks.settings.model import Settings

REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"
LAYOUT_FILE = "oci-layout"
LAYOUT_VERSION = "1.0.0"
_MOST_SHOWN = 6
_IMAGES = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})


class Layout:
    """A layout on disk, an ImageSource."""

    def __init__(self, directory: Path, *, name: str | None = None) -> None:
        """Read the index of the layout in `directory`; messages call it `name`.

        Raises ImageError if it is not a layout.
        """
        self.directory = directory
        self.name = name or str(directory)
        _refuse_archive(directory, self.name)
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
        self._indexes: dict[str, tuple[Descriptor, ...]] = {}
        self._by_name: dict[str, list[Descriptor]] = {}
        for descriptor in index:
            for parsed in _names_of(descriptor):
                self._by_name.setdefault(parsed.canonical, []).append(descriptor)

    @property
    def entries(self) -> tuple[Descriptor, ...]:
        """Return the entries of the index, in its order."""
        return tuple(self._descriptors)

    @property
    def references(self) -> tuple[str, ...]:
        """Return the names of all images as the layout has them, sorted."""
        return tuple(sorted({name for entry in self._descriptors if (name := _shown(entry))}))

    def find(self, reference: ImageReference) -> Descriptor | None:
        """Return the entry of a reference, by its digest if it has one, otherwise by its name.

        Of entries of one name the one for linux/amd64 is returned; raises ImageError if that leaves more than one. A digest
        may be that of an image inside of an index that the layout names, or of an index around one, if its blob is here.
        """
        if reference.digest is None:
            return self._only(self._by_name.get(reference.canonical, []), reference)
        own = [each for each in self._descriptors if _may_be(each, reference)]
        for descriptor in own:
            if descriptor.digest == reference.digest:
                return descriptor
        return self._inside(own, reference.digest) or self._around(own, reference.digest)

    def _inside(self, entries: Iterable[Descriptor], digest: str) -> Descriptor | None:
        """Return an entry of the indexes among the entries, at any level."""
        level, seen = list(entries), set[str]()
        for _ in range(MAX_LEVELS):
            indexes = (each for each in level if each.media_type not in _IMAGES)
            found = {each.digest: each for one in indexes for each in self._index_at(one.digest)}
            if digest in found:
                return found[digest]
            level = [each for each in found.values() if each.digest not in seen]
            seen |= found.keys()
        return None

    def _around(self, entries: Iterable[Descriptor], digest: str) -> Descriptor | None:
        """Return an index that has one of the entries and is not named itself."""
        inner = {each.digest for each in self._index_at(digest)}
        if all(entry.digest not in inner for entry in entries):
            return None
        size_bytes = self._path_of(digest).stat().st_size
        return Descriptor(media_type=OCI_INDEX, digest=digest, size_bytes=size_bytes)

    def _index_at(self, digest: str) -> tuple[Descriptor, ...]:
        """Return the entries of the index under a digest, () if there is none; what is wrong with one is said on its use."""
        known = self._indexes.get(digest)
        if known is None:
            known = ()
            # One that is not here or is no index at all costs no more than a look.
            path = self._path_of(digest)
            if path.is_file() and path.stat().st_size <= MAX_DOCUMENT_BYTES:
                with contextlib.suppress(ImageError):
                    found = parse_index_or_manifest(self._read_blob(digest, "image"), "image")
                    known = () if isinstance(found, ImageManifest) else found
            self._indexes[digest] = known
        return known

    def is_meant(self, reference: ImageReference) -> bool:
        """Return whether an image that is not here seems to be meant: its repository is, or its tag without a name."""
        for entry in self._descriptors:
            names = _names_of(entry)
            if any(_same_repository(name, reference) for name in names):
                return True
            tag = entry.annotations.get(REF_NAME)
            if FULL_NAME not in entry.annotations and tag is not None and tag == reference.tag:
                return True
        return False

    def _only(self, found: list[Descriptor], reference: ImageReference) -> Descriptor | None:
        if len({each.digest for each in found}) > 1:
            found = [each for each in found if each.is_ours] or found
        if len({each.digest for each in found}) > 1:
            where = Location(file=f"{self.name}/index.json")
            raise ImageError(f"two images have the name {reference}", where=where)
        return found[0] if found else None

    def manifest(self, reference: ImageReference) -> bytes:
        """Return the index or manifest of a reference; raises ImageError if the layout has none."""
        if reference.digest is not None:
            return self._read_blob(reference.digest, f"image {reference}")
        found = self.find(reference)
        if found is None:
            raise ImageError(f"image {reference}: not in the layout; {contents([self])}")
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

    def _path_of(self, digest: str) -> Path:
        return self.directory / "blobs" / digest.replace(":", "/")

    def _open(self, digest: str) -> BinaryIO:
        try:
            return self._path_of(digest).open("rb")
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


def open_layouts(
    root: Path, names: Iterable[str], *, optional: str = "", where: Location | None = None
) -> list[Layout]:
    """Return the layouts in the folders `names`, which are relative to `root`.

    optional: the folder that may be absent. where: the place that names them. Raises ImageError for another absent one.
    """
    layouts = []
    for name in names:
        folder = root / name
        if folder.is_dir():
            layouts.append(Layout(folder, name=name))
        elif folder.exists():
            found = f"image layout {name}: found a file, wanted a folder"
            raise ImageError(
                found, hint=f"unpack it, for example with 'tar -xf {name}'", where=where
            )
        elif name != optional:
            hint = "write the image there, or take the folder out of the list"
            raise ImageError(
                f"image layout {name}: there is no such folder", hint=hint, where=where
            )
    return layouts


def declared_layouts(settings: Settings, *, but: str | None = None) -> list[Layout]:
    """Return the layouts of the settings, without the one called `but`; raises ImageError for what is not one.

    The layout that images are packed into may be absent, because a task makes it once there is something to pack.
    """
    names = [name for name in settings.layouts if name != but]
    where = settings.where("images.layouts")
    return open_layouts(settings.root, names, optional=settings.packed_layout, where=where)


def find_layout(layouts: Iterable[Layout], reference: ImageReference) -> Layout | None:
    """Return the first layout that has an image of this reference."""
    return next((layout for layout in layouts if layout.find(reference) is not None), None)


def contents(layouts: Iterable[Layout]) -> str:
    """Return what layouts hold, in words: each with the names of its images."""
    return "; ".join(f"{layout.name} has {_listed(layout)}" for layout in layouts)


def _listed(layout: Layout) -> str:
    names = list(layout.references)
    unnamed = sum(not _shown(entry) for entry in layout.entries)
    if unnamed:
        names.append(f"{unnamed} without a name")
    if len(names) > _MOST_SHOWN:
        names[_MOST_SHOWN:] = [f"{len(names) - _MOST_SHOWN} more"]
    return ", ".join(names) or "no image"


def _names_of(entry: Descriptor) -> tuple[ImageReference, ...]:
    """Return the references of an entry; beside a whole one, a name without a slash is only its tag."""
    full, name = entry.annotations.get(FULL_NAME), entry.annotations.get(REF_NAME)
    texts = [full, name if full is None or (name and "/" in name) else None]
    return tuple(parsed for text in texts if text and (parsed := _parsed(text)) is not None)


def _parsed(text: str) -> ImageReference | None:
    try:
        return parse_reference(text)
    except ImageError:
        return None


def _may_be(entry: Descriptor, reference: ImageReference) -> bool:
    """Return whether an entry may stand for a pinned reference: its names are of the repository, or it has none."""
    names = _names_of(entry)
    has_whole_name = any("/" in name.name for name in names)
    return not has_whole_name or any(_same_repository(name, reference) for name in names)


def _same_repository(one: ImageReference, other: ImageReference) -> bool:
    return (one.registry, one.repository) == (other.registry, other.repository)


def _shown(entry: Descriptor) -> str:
    """Return the name of an entry for messages, "" for none."""
    name = entry.annotations.get(FULL_NAME) or entry.annotations.get(REF_NAME, "")
    return name if name.isprintable() else ascii(name)


def _refuse_archive(directory: Path, name: str) -> None:
    """Refuse what docker save wrote before it wrote layouts."""
    if (directory / "manifest.json").is_file() and not (directory / LAYOUT_FILE).exists():
        raise ImageError(
            f"image layout {name}: found an archive of docker save, wanted an OCI layout",
            hint="convert it with 'skopeo copy docker-archive:<file> oci:<folder>:<image>'",
        )


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        message = f"cannot read the image layout: {err.strerror}"
        raise ImageError(message, where=Location(file=name)) from err
