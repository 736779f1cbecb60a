"""The injected containers: initializer first, mesh sidecar last, and the volume they share with the application.

Containers and volume are data in templates/inject/, merged by name; injecting again changes nothing.
Source: docs/internals/generate.md 8.1-8.3, 8.8; docs/internals/runtime.md 7; docs/internals/service-mesh.md 3.
"""

import copy
from functools import cache
from typing import Any, Final

import yaml

from contrast_tasks import annotations, catalogue, resources, variables
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.pods.injected import INITIALIZER, SECRETS_VOLUME, SERVICE_MESH
from contrast_tasks.pods.volume_kinds import MEDIA, kind_of
from contrast_tasks.settings.model import Settings

# Source: docs/internals/generate.md 8.3.
_PROPAGATES: Final = ("HostToContainer", "Bidirectional")


def inject(
    subject: Subject, mesh: MeshConfig | None, settings: Settings, host_suffix: str
) -> dict[str, Any]:
    """Return a copy of the subject's object with the containers that annotations and settings ask for.

    host_suffix: "" or `.<namespace>`, appended to the Coordinator's host name. A container or volume of the user's
    with the name of an injected one becomes a G100 finding, and nothing is injected.
    """
    obj = copy.deepcopy(dict(subject.obj))
    spec = workloads.pod_spec(obj)
    values = workloads.annotations(obj)
    if _has_clash(subject, settings):
        return obj
    has_initializer = settings.initializer and values.get(annotations.SKIP_INITIALIZER) != "true"
    secure_pv = workloads.secure_pv(obj)
    if not settings.initializer and secure_pv is not None:
        subject.report(
            catalogue.SECURE_PV,
            (),
            "the pod has a secure-pv annotation, and the initializer, which encrypts the volume, is left out",
            "generate without --skip-initializer, or remove defaults.initializer from the settings",
        )
    if not has_initializer and mesh is None:
        return obj
    injected = {SERVICE_MESH, INITIALIZER} if has_initializer else {SERVICE_MESH}
    others = [
        container
        for container in workloads.items_at(spec, "initContainers")
        if not isinstance(container, dict) or container.get("name") not in injected
    ]
    first = [_initializer(secure_pv, mesh, settings, host_suffix)] if has_initializer else []
    last = [_sidecar(values, mesh, settings)] if mesh is not None else []
    _ensure_secrets_volume(spec)
    for container in [*others, *workloads.items_at(spec, "containers")]:
        if isinstance(container, dict):
            _ensure_secrets_mount(container)
    spec["initContainers"] = [*first, *others, *last]
    if has_initializer and secure_pv is not None:
        _ensure_state_volume(spec, secure_pv[1])
        _check_propagation(subject, secure_pv[1])
    return obj


def endorsement_variables(settings: Settings) -> list[dict[str, str]]:
    """Return entries of a container's `env` that name mirrors and proxy of the vendors' services."""
    pairs = sorted(settings.mirrors.items())
    values = {
        variables.ENDORSEMENTS_MIRRORS: " ".join(f"{prefix}={mirror}" for prefix, mirror in pairs),
        variables.ENDORSEMENTS_PROXY: settings.proxy,
    }
    return [{"name": name, "value": value} for name, value in values.items() if value]


@cache
def _loaded(name: str) -> Any:
    return yaml.load(resources.read_text(f"templates/inject/{name}.yml"), yaml.CSafeLoader)


def _template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = copy.deepcopy(_loaded(name))
    return template


def _initializer(
    secure_pv: tuple[str, str] | None, mesh: MeshConfig | None, settings: Settings, host_suffix: str
) -> dict[str, Any]:
    container = _template("initializer")
    container["image"] = settings.components.initializer
    container["env"][0]["value"] += host_suffix
    if mesh is None:
        # The guest refuses incoming connections until the sidecar allows them; without a mesh the initializer does.
        container["env"].append({"name": "CONTRAST_SERVICE_MESH_DISABLED", "value": "true"})
    container["env"] += endorsement_variables(settings)
    if secure_pv is not None:
        addition = _template("secure-pv")
        addition["volumeDevices"][0]["name"], addition["volumeMounts"][0]["name"] = secure_pv
        addition["env"] = [*container["env"], *addition["env"]]
        addition["volumeMounts"] = [*container["volumeMounts"], *addition["volumeMounts"]]
        container |= addition
    return dict(sorted(container.items()))


def _sidecar(values: dict[str, str], mesh: MeshConfig, settings: Settings) -> dict[str, Any]:
    container = _template("service-mesh")
    container["image"] = settings.components.service_mesh
    given = {name: values.get(key) for key, name in annotations.MESH_VARIABLES.items()}
    env = [{"name": name, "value": value} for name, value in given.items() if value]
    if env:
        container["env"] = env
    if mesh.admin_port is not None:
        container["ports"] = [{"containerPort": mesh.admin_port, "name": "contrast-admin"}]
    return dict(sorted(container.items()))


def _ensure_secrets_volume(spec: dict[str, Any]) -> None:
    for _, volume in workloads.mappings_at(spec, "volumes"):
        if volume.get("name") == SECRETS_VOLUME:
            volume["emptyDir"] = {**workloads.mapping_at(volume, "emptyDir"), "medium": "Memory"}
            return
    spec["volumes"] = [*workloads.items_at(spec, "volumes"), _template("volume")]


def _ensure_secrets_mount(container: dict[str, Any]) -> None:
    # A correct mount keeps its position; one with another path is replaced.
    wanted = {"mountPath": "/contrast", "name": SECRETS_VOLUME}
    mounts = workloads.items_at(container, "volumeMounts")
    others = [
        mount
        for mount in mounts
        if not isinstance(mount, dict) or mount.get("name") != SECRETS_VOLUME
    ]
    if wanted not in mounts or len(others) + 1 != len(mounts):
        container["volumeMounts"] = [*others, wanted]


def _ensure_state_volume(spec: dict[str, Any], name: str) -> None:
    names = [volume.get("name") for _, volume in workloads.mappings_at(spec, "volumes")]
    if name not in names:
        spec["volumes"] = [*spec["volumes"], {"emptyDir": {"medium": "Memory"}, "name": name}]


def _check_propagation(subject: Subject, name: str) -> None:
    for number, container in workloads.mappings_at(subject.spec, "containers"):
        for position, mount in workloads.mappings_at(container, "volumeMounts"):
            found = mount.get("mountPropagation")
            if mount.get("name") == name and found not in _PROPAGATES:
                subject.report(
                    catalogue.SECURE_PV_MOUNT,
                    (*subject.spec_path, "containers", number, "volumeMounts", position),
                    f"container {container.get('name')} mounts {name} with mountPropagation {found or 'None'},"
                    " expected HostToContainer: the encrypted volume is mounted while it runs",
                )


def _has_clash(subject: Subject, settings: Settings) -> bool:
    before = len(subject.findings)
    images = {
        INITIALIZER: settings.components.initializer,
        SERVICE_MESH: settings.components.service_mesh,
    }
    if workloads.annotations(subject.obj).get(annotations.SKIP_INITIALIZER) == "true":
        del images[INITIALIZER]
    for kind in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(subject.spec, kind):
            name, image = str(container.get("name")), str(container.get("image"))
            ours = images.get(name)
            if ours is not None and (
                kind == "containers" or _repository(image) != _repository(ours)
            ):
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


def _repository(reference: str) -> str:
    # name[:tag][@digest] to name; a colon before the last slash is a registry's port.
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]
