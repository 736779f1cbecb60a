"""Resolve a reference to its linux/amd64 image, in a layout or a registry."""

import hashlib
from typing import BinaryIO, Protocol

from contrast_tasks.errors import ImageError
from contrast_tasks.images.documents import (
    Descriptor,
    ImageConfig,
    ImageManifest,
    choose_platform,
    digest_of,
    parse_config,
    parse_index_or_manifest,
)
from contrast_tasks.pods.references import ImageReference
from contrast_tasks.records import Record

# Of a manifest or config. Source: OCI distribution specification, which recommends 4 MiB for manifests.
MAX_DOCUMENT_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20


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
    manifest, manifest_digest = parse_index_or_manifest(content, subject), None
    if not isinstance(manifest, ImageManifest):
        manifest_digest = choose_platform(manifest, subject).digest
        inner = source.manifest(reference.pinned(manifest_digest))
        manifest = parse_index_or_manifest(inner, subject)
        if not isinstance(manifest, ImageManifest):
            raise ImageError(f"{subject}: its index names another index, wanted an image")
    if manifest.config.size_bytes > MAX_DOCUMENT_BYTES:
        found = f"{manifest.config.size_bytes} bytes, at most {MAX_DOCUMENT_BYTES} are read"
        raise ImageError(f"{subject}: config has {found}")
    with source.open_blob(reference, manifest.config) as stream:
        config, diff_ids = parse_config(stream.read(), subject)
    if len(diff_ids) != len(manifest.layers):
        found = f"{len(manifest.layers)} layers in the manifest, {len(diff_ids)} diff_ids"
        raise ImageError(f"{subject}: {found} in the config")
    return ResolvedImage(
        reference=reference,
        source=source,
        digest=digest_of(content),
        manifest_digest=manifest_digest,
        config=config,
        layers=manifest.layers,
        diff_ids=diff_ids,
    )


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
