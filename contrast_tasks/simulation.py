"""The life of a workload's pod on a node of its release, and what its policy says to that."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from contrast_tasks.decode import Json
from contrast_tasks.images.lock import Lock, LockedImage
from contrast_tasks.manifest.policy_document import annotation_of, make_document
from contrast_tasks.platforms import platform
from contrast_tasks.pods.layer_names import layer_names
from contrast_tasks.policy.simulate import Judged, simulate
from contrast_tasks.prepare.images import image_sites
from contrast_tasks.runtime.containerd_versions import containerd_version
from contrast_tasks.runtime.controllers import pod_of, with_addresses
from contrast_tasks.runtime.drawing import drawn_for
from contrast_tasks.runtime.kubelet.security import apparmor_profiles
from contrast_tasks.runtime.life import Cluster, PodLife, live
from contrast_tasks.runtime.node import AKS_PAUSE, PAUSE, Image, Node
from contrast_tasks.runtime.refusals import ContainerRefused
from contrast_tasks.runtime.shim_versions import shim_version
from contrast_tasks.steps.index import Workload
from contrast_tasks.steps.policies import objects_used
from contrast_tasks.steps.project import Project
from contrast_tasks.steps.work import Work

_ENOUGH: Final = 5  # Services of which nothing in particular is known


class Simulation(NamedTuple):
    """What a policy says to each request of its pod's life, and who refuses which container; plain values."""

    decisions: tuple[Mapping[str, Any], ...]
    refused: tuple[str, ...]

    def number_of(self, *verdicts: str) -> int:
        """Return how many requests have one of these verdicts."""
        return sum(each["verdict"] in verdicts for each in self.decisions)


def simulate_workload(
    project: Project,
    workload: Workload,
    lock: Lock,
    work: Work,
    *,
    containerd: str = "",
    services: Iterable[Mapping[str, Any]] = (),
) -> Simulation:
    """Return what a workload's policy says to the life of its first pod; arguments as for `life_of`."""
    life = life_of(project, workload, lock, work, containerd=containerd, services=services)
    judged = simulate(work.policy, life.requests)
    refused = (_refusal(name, error) for name, error in life.refused.items())
    return Simulation(tuple(map(_decision, judged)), tuple(refused))


def life_of(
    project: Project,
    workload: Workload,
    lock: Lock,
    work: Work,
    *,
    containerd: str = "",
    services: Iterable[Mapping[str, Any]] = (),
) -> PodLife:
    """Return the life of a workload's first pod; services: those among the sources.

    containerd: version on the node, "" for the one that the release was made for. Raises UsageError for one that is not
    modelled.
    """
    settings = project.settings
    release = settings.release
    here = platform(settings.platform)
    images = {
        reference: _image(found, is_seen=not here.pulls_in_guest)
        for _, reference in image_sites(work.obj)
        if (found := lock.resolve(reference)) is not None
    }
    pod = pod_of(work.obj)
    cluster = Cluster(
        node=Node(
            containerd=containerd_version(containerd or release.containerd),
            apparmor=apparmor_profiles(Json(pod)),
            pause=AKS_PAUSE if here.attaches_layers else PAUSE,
        ),
        shim=shim_version(release.shim_of(here.name)),
        objects=(
            *objects_used(project, workload, lock),
            *with_addresses(_telling(services, pod, images.values())),
        ),
    )
    key, value = annotation_of(make_document(work.policy, settings.channel), settings.channel)
    pod["metadata"]["annotations"][key] = value
    return live(pod, images, cluster, drawn_for(pod))


def _decision(judged: Judged) -> dict[str, Any]:
    found = judged.decision
    return {
        "position": judged.position,
        "kind": judged.request.kind,
        "purpose": judged.request.purpose,
        "verdict": judged.verdict,
        "codes": sorted(found.codes) if found else [],
        "prints": list(found.prints) if found else [],
    }


def _refusal(name: str, error: ContainerRefused) -> str:
    what = f"container {name}" if name else "the sandbox"
    return f"{error.by} does not make {what}: {error}"


def _telling(
    services: Iterable[Mapping[str, Any]], pod: Mapping[str, Any], images: Iterable[Image]
) -> list[Mapping[str, Any]]:
    """Return the Services whose variables can meet those of image or pod, and some of the others.

    The others differ in nothing but their names, and a thousand variables take long to judge.
    """
    spec = pod["spec"]
    containers = (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
    known = {str(each.get("name")) for one in containers for each in one.get("env") or ()}
    known |= {entry.partition("=")[0] for image in images for entry in image.env}
    found: list[Mapping[str, Any]] = []
    others: list[Mapping[str, Any]] = []
    for service in services:
        prefix = f"{service['metadata']['name']}_".upper().replace("-", "_")
        meets = any(name.startswith(prefix) for name in known)
        (found if meets else others).append(service)
    return [*found, *others[:_ENOUGH]]


def _image(image: LockedImage, *, is_seen: bool) -> Image:
    """Return an image as its node knows it; is_seen: the node unpacks it, and so knows its users."""
    config = image.config
    names = layer_names([each.diff_id for each in image.layers])
    roots = [each.root or "" for each in image.layers]
    return Image(
        entrypoint=config.entrypoint,
        cmd=config.cmd,
        env=config.env,
        working_dir=config.working_dir,
        user=config.user,
        volumes=config.volumes,
        passwd=(image.passwd or None) if is_seen else None,
        group=(image.group or None) if is_seen else None,
        layers=tuple(reversed([each for each in zip(names, roots, strict=True) if each[1]])),
    )
