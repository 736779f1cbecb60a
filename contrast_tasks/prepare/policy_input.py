"""Make the input of the policy generator from a prepared object, its locked images, and its ConfigMaps and Secrets."""

from collections.abc import Mapping
from typing import Any, Final

from contrast_tasks.images.lock import Layer, LockedImage
from contrast_tasks.images.lost import WORDS
from contrast_tasks.kube import workloads
from contrast_tasks.policy.model import (
    ConfigKey,
    Elsewhere,
    ImageFacts,
    LayerFacts,
    Owner,
    PolicyInput,
)

NO_SERVICES: Final[Mapping[str, str]] = {}
NO_OBJECTS: Final[Mapping[ConfigKey, Elsewhere]] = {}


def policy_input(
    obj: Mapping[str, Any],
    *,
    images: Mapping[str, ImageFacts],
    configs: Mapping[ConfigKey, Mapping[str, str | bytes]],
    elsewhere: Mapping[ConfigKey, Elsewhere] = NO_OBJECTS,
    service_account_automount: bool = True,
    services: Mapping[str, str] = NO_SERVICES,
    claims: Mapping[str, str] = NO_SERVICES,
) -> PolicyInput:
    """Return the policy input of a workload; the arguments are members of PolicyInput.

    A missing pod template gives an empty pod, which `derive` reports. Raises KeyError if the object runs no pods.
    """
    metadata = workloads.mapping_at(obj, "metadata")
    job = workloads.job_spec(obj)
    return PolicyInput(
        pod_metadata=workloads.pod_metadata(obj),
        pod_spec=workloads.pod_spec(obj),
        owner=Owner(
            kind=obj["kind"],
            name=str(metadata.get("name") or ""),
            namespace=metadata.get("namespace"),
            generate_name=str(metadata.get("generateName") or ""),
        ),
        images=images,
        configs=configs,
        elsewhere=elsewhere,
        claims=claims,
        block_claims=workloads.claim_modes(obj),
        indexed_job=job.get("completionMode") == "Indexed",
        service_account_automount=service_account_automount,
        services=services,
        path=workloads.template_path(obj),
    )


def image_facts(image: LockedImage, reference: str) -> ImageFacts:
    """Return the policy input for a locked image that the pod names as `reference`."""
    config = image.config
    return ImageFacts(
        reference=reference,
        digest=image.digest,
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        volumes=config.volumes,
        layers=tuple(_layer(each) for each in image.layers),
        passwd=image.passwd,
        group=image.group,
    )


def _layer(layer: Layer) -> LayerFacts:
    return LayerFacts(
        diff_id=layer.diff_id,
        root=layer.root,
        lost=tuple(WORDS[each] for each in layer.lost),
    )
