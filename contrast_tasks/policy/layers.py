"""The layers of images where the node attaches them as devices (docs/internals/aks.md 1.4)."""

from collections.abc import Iterable

from contrast_tasks import catalogue
from contrast_tasks.pods.layer_names import layer_names
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Container
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place

# Estimates, with some room: the mount data of an overlay is a page, and a pod has 279 places for disks.
_MOST_LAYERS = 50
_MOST_DISKS = 250


def image_layers(
    context: PodContext, place: Place, image: ImageFacts
) -> tuple[tuple[str, str], ...] | None:
    """Return name and root hash of each layer, the top one first; None where the guest pulls images.

    place: where the pod names the image. A layer without a root hash is reported, and what guests do not see of an image.
    """
    if not context.profile.layer_folder or image.layers is None:
        return None if not context.profile.layer_folder else ()
    found = [layer.root for layer in image.layers]
    roots = [root for root in found if root is not None]
    if len(roots) < len(found):
        place.report(
            catalogue.IMAGE_FACTS,
            f"the lock file lacks the root hashes of {len(found) - len(roots)} of {len(found)} layers of the"
            f" image {image.reference}, and the platform's policies name them",
            "run 'contrast-tasks lock', which reads the layers",
        )
        return ()
    for lost in sorted({each for layer in image.layers for each in layer.lost}):
        place.report(
            catalogue.LAYERS_INCOMPLETE,
            f"the image {image.reference} has what this platform's guests do not see: {lost}",
        )
    if len(roots) > _MOST_LAYERS:
        place.report(
            catalogue.MANY_LAYERS,
            f"the image {image.reference} has {len(roots)} layers, at most {_MOST_LAYERS} are known to work",
        )
    names = layer_names([layer.diff_id for layer in image.layers])
    return tuple(zip(reversed(names), reversed(roots), strict=True))


def check_disks(spec: Place, containers: Iterable[Container]) -> None:
    """Report a pod whose layers and block volumes may be more disks than its guest has places for."""
    layers = {layer for each in containers for layer in each.layers or ()}
    devices = sum(len(each.devices) for each in containers)
    if layers and len(layers) + devices > _MOST_DISKS:
        spec.report(
            catalogue.MANY_LAYERS,
            f"the pod has {len(layers)} layers and {devices} block volumes, each of them a disk of its guest;"
            f" at most {_MOST_DISKS} are known to work",
        )
