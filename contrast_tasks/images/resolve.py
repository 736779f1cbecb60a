"""Resolve a reference to its linux/amd64 image, in a layout or a registry."""

import hashlib
from collections.abc import Sequence
from typing import BinaryIO, Protocol

from contrast_tasks.errors import ImageError
from contrast_tasks.images.config import ImageConfig
from contrast_tasks.images.documents import (
    Descriptor,
    ImageManifest,
    candidates,
    digest_of,
    is_our_config,
    parse_config,
    parse_index_or_manifest,
    refuse_platforms,
)
from contrast_tasks.pods.references import ImageReference
from contrast_tasks.records import Record

# Of a manifest or config. Source: OCI distribution specification, which recommends 4 MiB for manifests.
MAX_DOCUMENT_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20
# Of one image: real indexes have one level, builders that join indexes make two, and few entries lack a platform.
_MAX_DOCUMENTS = 32
MAX_LEVELS = 4
_MAX_LAYERS = 500  # that a kernel can put on top of each other. Source: Linux, fs/overlayfs


class ImageSource(Protocol):
    """A source of images. Both methods check the content against the requested digest."""

    def manifest(self, reference: ImageReference) -> bytes:
        """Return the index or manifest of a reference, by its digest if it has one."""

    def open_blob(self, reference: ImageReference, descriptor: Descriptor) -> BinaryIO:
        """Open a blob of the reference's repository for reading and seeking."""


class ResolvedImage(Record):
    """An image's manifest and config; layers and diff_ids: from the bottom up, of equal length.

    source: opens its layers. digest: of the index or manifest that the reference names. manifest_digest: of the
    linux/amd64 manifest, None if `digest` is that.
    """

    reference: ImageReference
    source: ImageSource
    digest: str
    manifest_digest: str | None
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]


def resolve_image(reference: ImageReference, source: ImageSource) -> ResolvedImage:
    """Return the image of a reference from its index, manifest and config; raises ImageError."""
    subject = f"image {reference}"
    content = source.manifest(reference)
    found, manifest_digest = parse_index_or_manifest(content, subject), None
    if isinstance(found, ImageManifest):
        manifest = found
    else:
        manifest_digest, manifest = _Search(reference, source).image_of(found)
    config, diff_ids = parse_config(_config(reference, source, manifest), subject)
    if len(diff_ids) != len(manifest.layers):
        counts = f"{len(manifest.layers)} layers in the manifest, {len(diff_ids)} diff_ids"
        raise ImageError(f"{subject}: {counts} in the config")
    if len(diff_ids) > _MAX_LAYERS:
        raise ImageError(f"{subject}: {len(diff_ids)} layers, at most {_MAX_LAYERS} are read")
    return ResolvedImage(
        reference=reference,
        source=source,
        digest=digest_of(content),
        manifest_digest=manifest_digest,
        config=config,
        layers=manifest.layers,
        diff_ids=diff_ids,
    )


class _Search:
    """Looks for the linux/amd64 image of an index, in the indexes that it names too."""

    def __init__(self, reference: ImageReference, source: ImageSource) -> None:
        self._reference = reference
        self._source = source
        self._subject = f"image {reference}"
        self._left = _MAX_DOCUMENTS

    def image_of(self, index: Sequence[Descriptor]) -> tuple[str, ImageManifest]:
        """Return the digest of the image's manifest, and the manifest; raises ImageError if there is none."""
        found = self._search(index, MAX_LEVELS)
        if found is None:
            raise refuse_platforms(index, self._subject)
        return found

    def _search(self, index: Sequence[Descriptor], levels: int) -> tuple[str, ImageManifest] | None:
        if levels == 0:
            raise ImageError(f"{self._subject}: more than {MAX_LEVELS} indexes inside each other")
        for entry in candidates(index):
            self._left -= 1
            if self._left < 0:
                found = f"its index names more than {_MAX_DOCUMENTS} images that could be meant"
                raise ImageError(f"{self._subject}: {found}")
            content = self._source.manifest(self._reference.pinned(entry.digest))
            document = parse_index_or_manifest(content, self._subject)
            if not isinstance(document, ImageManifest):
                inner = self._search(document, levels - 1)
                if inner is not None:
                    return inner
            elif entry.is_ours or is_our_config(_config(self._reference, self._source, document)):
                return entry.digest, document
        return None


def _config(reference: ImageReference, source: ImageSource, manifest: ImageManifest) -> bytes:
    size_bytes = manifest.config.size_bytes
    if size_bytes > MAX_DOCUMENT_BYTES:
        found = f"{size_bytes} bytes, at most {MAX_DOCUMENT_BYTES} are read"
        raise ImageError(f"image {reference}: config has {found}")
    with source.open_blob(reference, manifest.config) as stream:
        return stream.read()


def check_blob(stream: BinaryIO, descriptor: Descriptor, holder: str) -> None:
    """Raise ImageError unless a stream has the size and digest of a blob; reads it from start to end and rewinds it.

    holder: the source of the blob, for messages.
    """
    state, size = hashlib.sha256(), 0
    while chunk := stream.read(_CHUNK_BYTES):
        state.update(chunk)
        size += len(chunk)
    problem = ""
    if size != descriptor.size_bytes:
        problem = f"has {size} bytes, wanted {descriptor.size_bytes}"
    elif f"sha256:{state.hexdigest()}" != descriptor.digest:
        problem = f"has the digest sha256:{state.hexdigest()}"
    if problem:
        raise ImageError(f"{holder}: blob {descriptor.digest} {problem}")
    stream.seek(0)
