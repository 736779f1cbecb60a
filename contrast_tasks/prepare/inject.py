"""Put the injected containers into a pod: image store and initializer first, mesh sidecar last, and the volumes they share.

Containers of the same name are replaced and mounts corrected, so that injecting again changes nothing.
Source: docs/internals/generate.md 8.1-8.4, 8.8; docs/internals/releases.md 5; docs/internals/service-mesh.md 3.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Final

from contrast_tasks import annotations, catalogue, variables
from contrast_tasks.kube import nodes, workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.pods.injected import (
    IMAGE_STORE,
    IMAGE_STORE_VOLUME,
    INITIALIZER,
    SECRETS_VOLUME,
    SERVICE_MESH,
)
from contrast_tasks.pods.quantities import QuantityError, parse_bytes
from contrast_tasks.prepare.clash import has_clash
from contrast_tasks.prepare.containers import Container, Containers
from contrast_tasks.prepare.memory import ImageMemory
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.mesh.model import MeshConfig

# Source: docs/internals/generate.md 8.3.
_PROPAGATES: Final = ("HostToContainer", "Bidirectional")


def inject(
    subject: Subject,
    mesh: "MeshConfig | None",
    settings: Settings,
    host_suffix: str,
    memory: ImageMemory,
) -> dict[str, Any]:
    """Return a copy of the subject's object with the containers that annotations and settings ask for.

    host_suffix: "" or `.<namespace>`, appended to the Coordinator's host name. memory: what our own images take in the
    guest. A container or volume of the user's with the name of an injected one becomes a G100 finding, and nothing is
    injected.
    """
    obj: dict[str, Any] = nodes.copied(subject.obj)
    spec = workloads.pod_spec(obj)
    values = workloads.annotations(obj)
    skips_initializer = values.get(annotations.SKIP_INITIALIZER) == "true"
    if has_clash(subject, settings, skips_initializer=skips_initializer):
        return obj
    has_initializer = settings.initializer and not skips_initializer
    secure_pvs = workloads.secure_pvs(workloads.annotations(obj)) or ()
    if not settings.initializer and secure_pvs:
        subject.report(
            catalogue.SECURE_PV,
            (),
            "the pod has a secure-pv annotation, and the initializer, which encrypts the volume, is left out",
            "generate without --skip-initializer, or remove defaults.initializer from the settings",
        )
    containers = Containers(settings=settings, memory=memory)
    first, last = [], []
    if has_initializer:
        has_mesh = any(key in values for key in annotations.MESH_KEYS)
        first = [containers.initializer(host_suffix, secure_pvs=secure_pvs, has_mesh=has_mesh)]
        for _, mount in secure_pvs:
            _ensure_volume(spec, containers.folder(mount))
            _check_propagation(subject, mount)
    if mesh is not None:
        last = [containers.sidecar(values, mesh, host_suffix)]
    if first or last:
        _put_in(spec, first, last, containers)
    add_image_store(subject, obj, containers)
    return obj


def _put_in(
    spec: dict[str, Any],
    first: list[Container],
    last: list[Container],
    containers: Containers,
) -> None:
    """Put containers in front of a pod's init containers and behind them, and certificates where the others find them."""
    for container in (*first, *last):
        _keep_rights(container, spec, containers.settings)
    replaced = {*((INITIALIZER, SERVICE_MESH) if first else ()), *((SERVICE_MESH,) if last else ())}
    holders, others = _others(spec, replaced)
    # Without our initializer the pod has one of its own, and mounts what it wants itself.
    for container in [*others, *workloads.items_at(spec, "containers")] if first else ():
        if isinstance(container, dict):
            _ensure_secrets_mount(container, containers.secrets_mount())
    wanted = containers.folder(SECRETS_VOLUME)
    if not containers.settings.components.are_reference:
        _keep_in_memory(spec, wanted)
    _ensure_volume(spec, wanted)
    spec["initContainers"] = [*holders, *first, *others, *last]


def _keep_rights(container: Container, spec: dict[str, Any], settings: Settings) -> None:
    """Let a container of ours run as root, as its packet filter and devices need, whatever user a pod has for its own.

    That user owns the private key, as if it had asked for the key itself.
    """
    asked = workloads.mapping_at(spec, "securityContext")
    is_other = asked.get("runAsUser") is not None or asked.get("runAsNonRoot")
    if is_other and not settings.components.are_reference:
        own = workloads.mapping_at(container, "securityContext")
        own = {**own, "runAsNonRoot": False, "runAsUser": 0}
        container["securityContext"] = dict(sorted(own.items()))
        if user := asked.get("runAsUser"):
            owner = {"name": variables.KEY_UID, "value": str(user)}
            container["env"] = [*workloads.items_at(container, "env"), owner]


def _others(spec: dict[str, Any], replaced: Collection[str]) -> tuple[list[Any], list[Any]]:
    """Return the init containers that stay: what holds an image store, into which the other images go, and the rest."""
    holders: list[Any] = []
    others: list[Any] = []
    for container in workloads.items_at(spec, "initContainers"):
        name = container.get("name") if isinstance(container, dict) else None
        if name == IMAGE_STORE:
            holders.append(container)
        elif name not in replaced:
            others.append(container)
    return holders, others


def add_image_store(subject: Subject, obj: dict[str, Any], containers: Containers) -> None:
    """Add the volume that the guest unpacks images into, and what holds it, if settings, release and annotation say so.

    Nothing is changed where a container or volume has that name already.
    """
    spec = workloads.pod_spec(obj)
    size = workloads.annotations(obj).get(annotations.IMAGE_STORE_SIZE)
    if not containers.settings.has_image_store:
        _report_unused_size(subject, size)
        return
    names = {
        item.get("name")
        for key in ("initContainers", "containers", "volumes")
        for _, item in workloads.mappings_at(spec, key)
    }
    if _is_zero(size) or not names.isdisjoint((IMAGE_STORE, IMAGE_STORE_VOLUME)):
        return
    holder, volume = containers.image_store(size)
    _keep_rights(holder, spec, containers.settings)
    spec["initContainers"] = [holder, *workloads.items_at(spec, "initContainers")]
    spec["volumes"] = [*workloads.items_at(spec, "volumes"), volume]


def _report_unused_size(subject: Subject, size: str | None) -> None:
    if size is None or _is_zero(size):
        return
    key = annotations.IMAGE_STORE_SIZE
    subject.report(
        catalogue.ANNOTATION_WITHOUT_EFFECT,
        (*workloads.annotation_places(subject.obj)[0], key),
        f"the annotation {key} is {size!r}, but no image store is added to pods; images count towards the memory"
        " limit",
    )


def _is_zero(size: str | None) -> bool:
    try:
        return size is not None and parse_bytes(size) == 0
    except QuantityError:
        return True  # reported with the annotations


def _ensure_volume(spec: dict[str, Any], wanted: dict[str, Any]) -> None:
    names = [volume.get("name") for _, volume in workloads.mappings_at(spec, "volumes")]
    if wanted["name"] not in names:
        spec["volumes"] = [*workloads.items_at(spec, "volumes"), wanted]


def _keep_in_memory(spec: dict[str, Any], wanted: dict[str, Any]) -> None:
    for _, volume in workloads.mappings_at(spec, "volumes"):
        if volume.get("name") == wanted["name"]:
            volume["emptyDir"] = {**workloads.mapping_at(volume, "emptyDir"), **wanted["emptyDir"]}


def _ensure_secrets_mount(container: dict[str, Any], wanted: dict[str, Any]) -> None:
    # A correct mount keeps its position; any other is replaced.
    mounts = workloads.items_at(container, "volumeMounts")
    others = [
        mount
        for mount in mounts
        if not isinstance(mount, dict) or mount.get("name") != SECRETS_VOLUME
    ]
    if wanted not in mounts or len(others) + 1 != len(mounts):
        container["volumeMounts"] = [*others, wanted]


def _check_propagation(subject: Subject, name: str) -> None:
    for key in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(subject.spec, key):
            if key == "initContainers" and container.get("name") == INITIALIZER:
                continue
            for position, mount in workloads.mappings_at(container, "volumeMounts"):
                found = mount.get("mountPropagation")
                if mount.get("name") == name and found not in _PROPAGATES:
                    subject.report(
                        catalogue.SECURE_PV_MOUNT,
                        (*subject.spec_path, key, number, "volumeMounts", position),
                        f"container {container.get('name')} mounts {name} with mountPropagation {found or 'None'},"
                        " expected HostToContainer: the encrypted volume is mounted while it runs",
                    )
