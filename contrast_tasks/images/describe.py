"""Make a lock entry from an image's documents and its layers."""

from contrast_tasks.images.accounts import Accounts
from contrast_tasks.images.lock import Layer, LockedImage
from contrast_tasks.images.resolve import ImageSource, ResolvedImage, resolve_image
from contrast_tasks.pods.references import ImageReference


def describe(reference: ImageReference, source: ImageSource) -> LockedImage:
    """Return the lock entry of a reference; everything read is checked against a digest. Raises ImageError.

    Each layer is read for its uncompressed size and the account files; again only if those are behind links.
    """
    image = resolve_image(reference, source)
    accounts = Accounts()
    layers = _read(image, accounts)
    while accounts.starts_again():
        _read(image, accounts)
    return LockedImage(
        reference=str(reference),
        digest=image.digest,
        manifest_digest=image.manifest_digest,
        config=image.config,
        layers=tuple(layers),
        passwd=accounts.passwd,
        group=accounts.group,
    )


def _read(image: ResolvedImage, accounts: Accounts) -> list[Layer]:
    """Return the image's layers; each is added to the accounts."""
    layers = []
    for descriptor, diff_id in zip(image.layers, image.diff_ids, strict=True):
        subject = f"image {image.reference}"
        with image.source.open_blob(image.reference, descriptor) as stream:
            unpacked = accounts.add_layer(stream, diff_id=diff_id, subject=subject)
        layers.append(
            Layer(
                digest=descriptor.digest,
                diff_id=diff_id,
                size_bytes=descriptor.size_bytes,
                unpacked_bytes=unpacked,
            )
        )
    return layers
