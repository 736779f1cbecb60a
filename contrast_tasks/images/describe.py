"""Make a lock entry from an image's documents and its layers."""

from contrast_tasks.images.accounts import Accounts
from contrast_tasks.images.lock import Layer, LockedImage
from contrast_tasks.images.resolve import ImageSource, resolve_image
from contrast_tasks.pods.references import ImageReference


def describe(reference: ImageReference, source: ImageSource) -> LockedImage:
    """Return the lock entry of a reference; everything read is checked against a digest. Raises ImageError.

    Each layer is read once, for its uncompressed size and the account files.
    """
    image = resolve_image(reference, source)
    accounts, layers = Accounts(), []
    for descriptor, diff_id in zip(image.layers, image.diff_ids, strict=True):
        with source.open_blob(reference, descriptor) as stream:
            unpacked = accounts.add_layer(stream, diff_id=diff_id, subject=f"image {reference}")
        layers.append(
            Layer(
                digest=descriptor.digest,
                diff_id=diff_id,
                size_bytes=descriptor.size_bytes,
                unpacked_bytes=unpacked,
            )
        )
    return LockedImage(
        reference=str(reference),
        digest=image.digest,
        manifest_digest=image.manifest_digest,
        config=image.config,
        layers=tuple(layers),
        passwd=accounts.passwd,
        group=accounts.group,
    )
