"""The root hashes of an image's layers, found once for each diff_id and kept.

A root hash follows from the layer's content alone, and so from its diff_id. Source: docs/internals/aks.md 2.
"""

import json
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol

from contrast_tasks.errors import ImageError
from contrast_tasks.images.documents import Descriptor
from contrast_tasks.images.lock import Layer, LockedImage
from contrast_tasks.images.tardev import layer_device

# The number is that of the rules by which roots are found: what others made does not count.
_KIND = "layer-root-1"

OpenLayer = Callable[[Descriptor], BinaryIO]


class Kept(Protocol):
    """A store whose entries are checked when they are read."""

    def get(self, kind: str, key: str) -> bytes | None:
        """Return an entry, None if there is none."""

    def remember(self, kind: str, key: str, content: bytes) -> None:
        """Keep an entry if possible."""


class Roots:
    """Known root hashes by diff_id: of locked layers, and what a store has."""

    def __init__(self, known: Iterable[LockedImage] = (), kept: Kept | None = None) -> None:
        self._found = {
            layer.diff_id: layer
            for image in known
            for layer in image.layers
            if layer.root is not None
        }
        self._kept = kept

    def add_to(
        self, image: LockedImage, open_layer: OpenLayer | None, *, may_be_plain: bool
    ) -> LockedImage:
        """Return an image with the roots of all its layers, or of those that are known where no layer can be opened.

        Raises ImageError for a layer that the snapshotter does not read; may_be_plain: as in `layer_device`.
        """
        subject = f"image {image.reference}"
        layers = tuple(
            layer
            if layer.root is not None
            else self._with_root(layer, open_layer, subject, may_be_plain=may_be_plain)
            for layer in image.layers
        )
        return image if layers == image.layers else image.replace(layers=layers)

    def _with_root(
        self, layer: Layer, open_layer: OpenLayer | None, subject: str, *, may_be_plain: bool
    ) -> Layer:
        known = self._found.get(layer.diff_id) or self._from_store(layer)
        if known is None and open_layer is not None:
            known = self._scanned(layer, open_layer, subject, may_be_plain=may_be_plain)
        if known is None:
            return layer
        self._found[layer.diff_id] = known
        return layer.replace(root=known.root, lost=known.lost)

    def _from_store(self, layer: Layer) -> Layer | None:
        content = self._kept.get(_KIND, _key(layer)) if self._kept else None
        if content is None:
            return None
        root, lost = json.loads(content)
        return layer.replace(root=root, lost=tuple(lost))

    def _scanned(
        self, layer: Layer, open_layer: OpenLayer, subject: str, *, may_be_plain: bool
    ) -> Layer:
        descriptor = Descriptor(media_type="", digest=layer.digest, size_bytes=layer.size_bytes)
        with open_layer(descriptor) as stream:
            device = layer_device(stream, subject, may_be_plain=may_be_plain)
        if device.diff_id != layer.diff_id:
            found = f"layer unpacks to {device.diff_id}, the lock file has {layer.diff_id}"
            raise ImageError(f"{subject}: {found}")
        if self._kept:
            self._kept.remember(_KIND, _key(layer), json.dumps([device.root, device.lost]).encode())
        return layer.replace(root=device.root, lost=device.lost)


def _key(layer: Layer) -> str:
    return layer.diff_id.removeprefix("sha256:")
