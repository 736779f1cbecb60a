"""What stands in a pod under the name of an injected container or volume, and is not one (G100)."""

from typing import Final

from contrast_tasks import catalogue
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.injected import INITIALIZER, SECRETS_VOLUME, SERVICE_MESH
from contrast_tasks.pods.volume_kinds import MEDIA, kind_of
from contrast_tasks.settings.model import Settings

# The last part of an image's name, ours and the reference product's: files that either has generated can be generated again.
_KNOWN: Final = {
    INITIALIZER: frozenset({"initializer"}),
    SERVICE_MESH: frozenset({"service-mesh", "service-mesh-proxy"}),
}


def has_clash(subject: Subject, settings: Settings, *, skips_initializer: bool) -> bool:
    """Report containers and volumes of the user's with the name of an injected one; return whether there are any.

    skips_initializer: the pod may have an initializer of its own.
    """
    before = len(subject.findings)
    images = {
        INITIALIZER: settings.components.initializer,
        SERVICE_MESH: settings.components.service_mesh,
    }
    if skips_initializer:
        del images[INITIALIZER]
    for kind in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(subject.spec, kind):
            name, image = str(container.get("name")), str(container.get("image"))
            ours = images.get(name)
            if ours is not None and (kind == "containers" or not _is_injected(name, image, ours)):
                subject.report(
                    catalogue.CONTAINER_CLASH,
                    (*subject.spec_path, kind, number, "name"),
                    f"the container {name} with the image {image} has the name of the injected one"
                    f" ({ours}); expected no container of that name",
                    'rename it; to keep an initializer of your own set skip-initializer to "true"',
                )
    for number, volume in workloads.mappings_at(subject.spec, "volumes"):
        if volume.get("name") != SECRETS_VOLUME:
            continue
        medium = workloads.mapping_at(volume, "emptyDir").get("medium", "")
        if "emptyDir" not in volume or medium not in MEDIA:
            subject.report(
                catalogue.CONTAINER_CLASH,
                (*subject.spec_path, "volumes", number),
                f"the volume {SECRETS_VOLUME} is of type {kind_of(volume)}{f' with medium {medium}' if medium else ''},"
                " expected an emptyDir in memory",
                "rename the volume; the name is the initializer's",
            )
    return len(subject.findings) > before


def _is_injected(name: str, image: str, ours: str) -> bool:
    found = _repository(image)
    return found == _repository(ours) or found.rpartition("/")[2] in _KNOWN[name]


def _repository(reference: str) -> str:
    # name[:tag][@digest] to name; a colon before the last slash is a registry's port.
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]
