"""Make a lock entry: an image's documents, and what only its layers can tell."""

from contrast_tasks.images.accounts import Accounts
from contrast_tasks.images.lock import Layer, LockedImage
from contrast_tasks.images.resolve import ImageSource, resolve_image
from contrast_tasks.pods.references import ImageReference


def describe(reference: ImageReference, source: ImageSource) -> LockedImage:
    """Return the lock entry of a reference; every byte read is checked against a digest.

    All layers are read once, for their unpacked size and the account files. Raises ImageError.
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
