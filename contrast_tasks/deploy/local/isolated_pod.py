"""How one pod of the annotated YAML becomes a plan for a node of namespaces: its document, its images, what it refers to."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from contrast_tasks.annotations import ROLE_COORDINATOR
from contrast_tasks.deploy.local.container_plan import PathMap, container_ports, probe_plan
from contrast_tasks.deploy.local.pod_plan import (
    all_ports,
    grace_s,
    listening_ports,
    restart_policy,
    with_roles,
)
from contrast_tasks.errors import ClusterError, ImageError
from contrast_tasks.files import sha256_hex
from contrast_tasks.images.layout import Layout, declared_layouts, find_layout
from contrast_tasks.images.lock import Lock
from contrast_tasks.kube import workloads
from contrast_tasks.kube.annotated import Annotated
from contrast_tasks.local.isolated.bridge import place_of, pod_address
from contrast_tasks.local.messages import ContainerPlan, ImagePlan, Isolation, PodPlan
from contrast_tasks.local.paths import LocalPaths
from contrast_tasks.pods.injected import INITIALIZER, SERVICE_MESH
from contrast_tasks.pods.references import ImageReference, parse_reference
from contrast_tasks.pods.volume_kinds import Reach, kind_of, known_kind
from contrast_tasks.runtime.controllers import pod_of
from contrast_tasks.settings.model import Settings

# Of generated names. Source: Kubernetes, apimachinery/pkg/util/rand.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH: Final = 5
_NAMED_KINDS: Final = ("ConfigMap", "Secret", "ServiceAccount")

FindImage = Callable[[str], ImagePlan]
"""Returns the image of a pinned reference; raises ImageError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolatedShared:
    """What all isolated pods of one deployment share; objects: all of it."""

    settings: Settings
    paths: LocalPaths
    objects: Sequence[Annotated]
    find_image: FindImage
    with_mesh: bool


def image_finder(
    settings: Settings, lock: Lock, pulled: Path, say: Callable[[str], None]
) -> FindImage:
    """Return the function that finds images in the project's layouts, else brings them from their registry.

    lock: what is known of them. pulled: folder of a layout, for those of registries. say: is told what is pulled.
    """
    layouts = declared_layouts(settings)

    def find(text: str) -> ImagePlan:
        reference = parse_reference(text)
        locked = lock.resolve(text)
        if locked is None:
            raise ImageError(f"image {text} is not locked", hint="run lock, then generate")
        if reference.digest is None:  # of a pod that is not confidential
            reference = reference.pinned(locked.digest)
        layout = find_layout(layouts, reference)
        if layout is None:
            layout = _pulled(reference, pulled, say)
        config = locked.config
        return ImagePlan(
            layout=str(layout.directory),
            reference=str(reference),
            digest=layout.image(reference).digest,
            entrypoint=config.entrypoint,
            cmd=config.cmd,
            env=config.env,
            working_dir=config.working_dir,
            user=config.user,
            volumes=config.volumes,
            passwd=locked.passwd or None,
            group=locked.group or None,
        )

    return find


def _pulled(reference: ImageReference, folder: Path, say: Callable[[str], None]) -> Layout:
    """Return the layout of pulled images with this image in it."""
    from contrast_tasks.images.pull import pull
    from contrast_tasks.steps.lock import open_registry

    if not _has(folder, reference):
        say(f"pulling {reference}")
        with ExitStack() as stack:
            pull(reference, open_registry(stack), folder)
    return Layout(folder, name="the images that were pulled")


def _has(folder: Path, reference: ImageReference) -> bool:
    try:
        return Layout(folder).find(reference) is not None
    except ImageError:
        return False


def build_isolated_pod(
    item: Annotated, name: str, index: int, address: str, shared: IsolatedShared
) -> PodPlan:
    """Return the plan of a pod; index: among the pods of its workload, address: on this machine.

    Raises ClusterError or ImageError if this machine cannot run it.
    """
    document = pod_of(item.obj, index=index, suffix=_suffix(f"{item.key} {name}"))
    spec = document["spec"]
    is_coordinator = item.role == ROLE_COORDINATOR
    roles = with_roles(spec, with_mesh=shared.with_mesh, is_coordinator=is_coordinator)
    containers = tuple(
        _container(item, container, role, spec=spec, address=address) for container, role in roles
    )
    ports = listening_ports(spec, is_coordinator=is_coordinator)
    policy = item.policy
    return PodPlan(
        name=name,
        workload=item.key,
        role=item.role,
        address=address,
        restart_policy=restart_policy(spec, containers),
        grace_s=grace_s(spec),
        listens=tuple((address, port) for port in ports) if containers else (),
        folders=(),
        policy=base64.b64encode(policy.content).decode() if policy else "",
        policy_sha256=policy.key_hex if policy else "",
        containers=containers,
        isolation=Isolation(
            document=document,
            images={
                reference: shared.find_image(reference) for reference in workloads.images(item.obj)
            },
            objects=tuple(_named_objects(item, shared)),
            containerd=shared.settings.release.containerd,
            shim=shared.settings.release.shim_of(shared.settings.platform),
            claims=_claims(item, spec, shared.paths),
        ),
    )


def _container(
    item: Annotated,
    container: Mapping[str, Any],
    role: str,
    *,
    spec: Mapping[str, Any],
    address: str,
) -> ContainerPlan:
    name = container["name"]
    where = f"{item.key} container {name}"
    if container.get("volumeDevices"):
        raise ClusterError(f"{where}: platform local attaches no block devices", where=item.where)
    ports = all_ports(spec) | container_ports(container)
    inside = pod_address(place_of(address))
    same = PathMap(mounts={}, rootfs=Path("/nonexistent"))

    def probe(key: str) -> Any:
        return probe_plan(
            container.get(key), ports=ports, addresses=[inside], paths=same, where=f"{where}: {key}"
        )

    return ContainerPlan(
        name=name,
        role=role,
        argv=(),
        env={},
        working_dir="",
        attested=item.role == ROLE_COORDINATOR or name in {INITIALIZER, SERVICE_MESH},
        startup=probe("startupProbe"),
        readiness=probe("readinessProbe"),
        liveness=probe("livenessProbe"),
    )


def _named_objects(item: Annotated, shared: IsolatedShared) -> Iterable[Mapping[str, Any]]:
    """Return the objects that the pod may read: only those that it names, so that it is replaced when one of them changes.

    Raises ClusterError for one that is missing and not optional.
    """
    references = workloads.config_references(item.obj)
    names = {(each.kind, each.name) for each in references}
    names.add(("ServiceAccount", workloads.service_account(item.obj)))
    found: dict[tuple[str, str], Mapping[str, Any]] = {
        (kind, name): workloads.config_object(kind, item.namespace, name, made.values)
        for kind, name in names
        if (made := shared.settings.config(kind, item.namespace, name)) is not None
    }
    found |= {
        (each.kind, each.name): each.obj
        for each in shared.objects
        if each.kind in _NAMED_KINDS and each.namespace == item.namespace
    }
    for reference in references:
        if (reference.kind, reference.name) not in found and not reference.optional:
            missing = f"there is no {reference.kind} {reference.name} in namespace {item.namespace}"
            raise ClusterError(f"{item.key}: {missing}", where=item.where)
    return [found[key] for key in sorted(names & found.keys())]


def _claims(item: Annotated, spec: Mapping[str, Any], paths: LocalPaths) -> dict[str, str]:
    """Return the folder of each claim; raises ClusterError for a volume that cannot be had here."""
    claims: dict[str, str] = {}
    for volume in spec.get("volumes") or ():
        kind = known_kind(volume)
        if kind.reach is Reach.SHARED:
            raise ClusterError(
                f"{item.key}: volume {volume['name']}: platform local has no {kind_of(volume)}",
                where=item.where,
            )
        if claim := (volume.get("persistentVolumeClaim") or {}).get("claimName"):
            folder = paths.volumes / claim
            folder.mkdir(parents=True, exist_ok=True)
            claims[claim] = str(folder)
    return claims


def _suffix(name: str) -> str:
    """Return five characters as a cluster draws them, always the same for one pod."""
    number = int(sha256_hex(name.encode()), 16)
    drawn = []
    for _ in range(_SUFFIX_LENGTH):
        number, index = divmod(number, len(_ALPHABET))
        drawn.append(_ALPHABET[index])
    return "".join(drawn)
