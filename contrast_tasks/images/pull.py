"""Bring one image from a registry into an OCI layout, with the same bytes and so under the same digests.

Everything that resolving the image reads is kept: index, manifest and config, then its layers. A layout that has the image
already is left as it is; blobs are written before the index that names them.
"""

import json
import os
import shutil
from pathlib import Path
from typing import BinaryIO

from contrast_tasks.decode import parse_json
from contrast_tasks.files import canonical_json, write_atomic
from contrast_tasks.images.documents import OCI_INDEX, OCI_MANIFEST, Descriptor, digest_of
from contrast_tasks.images.layout import LAYOUT_FILE, LAYOUT_VERSION, REF_NAME, Layout
from contrast_tasks.images.resolve import ImageSource, resolve_image
from contrast_tasks.pods.references import ImageReference


def pull(reference: ImageReference, source: ImageSource, directory: Path) -> None:
    """Add the linux/amd64 image of a pinned reference to the layout in `directory`, which is made if it is absent.

    Raises ImageError, and OSError if the layout cannot be written.
    """
    entries = Layout(directory).entries if (directory / LAYOUT_FILE).exists() else ()
    if any(entry.digest == reference.digest for entry in entries):
        return
    keeping = _Keeping(source, directory / "blobs" / "sha256")
    image = resolve_image(reference, keeping)
    for layer in image.layers:
        keeping.open_blob(reference, layer).close()
    content = keeping.manifest(reference)
    is_index = image.manifest_digest is not None
    stated = parse_json(content).get("mediaType")
    entry = Descriptor(
        media_type=stated.text() if stated else (OCI_INDEX if is_index else OCI_MANIFEST),
        digest=image.digest,
        size_bytes=len(content),
        annotations={REF_NAME: str(reference)},
    )
    write_atomic(directory / LAYOUT_FILE, canonical_json({"imageLayoutVersion": LAYOUT_VERSION}))
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [each.to_json() for each in (*entries, entry)],
    }
    write_atomic(directory / "index.json", json.dumps(index, sort_keys=True).encode())


class _Keeping:
    """A source that keeps in a folder what it gives, and gives from there what it has."""

    def __init__(self, source: ImageSource, folder: Path) -> None:
        self._source = source
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def manifest(self, reference: ImageReference) -> bytes:
        """Return an index or manifest by its digest."""
        if reference.digest is not None and (place := self._place(reference.digest)).exists():
            content = place.read_bytes()
            if digest_of(content) == reference.digest:
                return content
        content = self._source.manifest(reference)
        write_atomic(self._place(digest_of(content)), content)
        return content

    def open_blob(self, reference: ImageReference, descriptor: Descriptor) -> BinaryIO:
        """Return a blob, which readers of the layout check against its digest."""
        place = self._place(descriptor.digest)
        if not place.exists() or place.stat().st_size != descriptor.size_bytes:
            part = place.with_name(f".{place.name}.{os.getpid()}")
            try:
                with (
                    self._source.open_blob(reference, descriptor) as stream,
                    part.open("wb") as target,
                ):
                    shutil.copyfileobj(stream, target)
                part.replace(place)
            finally:
                part.unlink(missing_ok=True)
        return place.open("rb")

    def _place(self, digest: str) -> Path:
        return self._folder / digest.removeprefix("sha256:")
