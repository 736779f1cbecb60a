"""The injected containers: initializer first, mesh sidecar last, and the volume between them and the application.

Containers and volume are data under templates/inject/, merged by name; a second run changes nothing.
Source: docs/internals/generate.md 8.1-8.3, 8.8; docs/internals/runtime.md 7; docs/internals/service-mesh.md 3.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import yaml

from contrast_tasks import annotations, catalogue, resources
from contrast_tasks.kube import workloads
from contrast_tasks.kube.subject import Subject
from contrast_tasks.mesh.model import MeshConfig
from contrast_tasks.pods.injected import INITIALIZER, SECRETS_VOLUME, SERVICE_MESH
from contrast_tasks.pods.volume_kinds import MEDIA, kind_of
from contrast_tasks.pointers import Path

# Read by contrast_tasks.attestation.endorsements.network in the guest.
VARIABLE_MIRRORS: Final = "CONTRAST_ENDORSEMENTS_MIRRORS"
VARIABLE_PROXY: Final = "CONTRAST_ENDORSEMENTS_PROXY"
_SECURE_PV_PARTS: Final = 2
# Source: docs/internals/generate.md 8.3.
_PROPAGATES: Final = ("HostToContainer", "Bidirectional")


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Image references of the injected containers."""

    initializer_image: str
    service_mesh_image: str


def inject(
    subject: Subject,
    mesh: MeshConfig | None,
    components: Components,
    namespace_suffix: str = "",
    endorsements: Sequence[Mapping[str, str]] = (),
    *,
    initializer: bool = True,
) -> dict[str, Any]:
    """Return the subject's object with the containers that its annotations ask for.

    namespace_suffix: "" or `.<namespace>` behind the Coordinator's host name. endorsements: variables of the initializer,
    as `endorsement_variables` returns them. initializer: False leaves it out of every pod. A container or volume of the
    user's in the place of ours becomes a G100 finding, and nothing is injected then.
    """
    obj = copy.deepcopy(dict(subject.obj))
    spec = workloads.pod_spec(obj)
    values = workloads.annotations(obj)
    if _clashes(subject, components):
        return obj
    has_initializer = initializer and values.get(annotations.SKIP_INITIALIZER) != "true"
    if not initializer and annotations.SECURE_PV in values:
        _needs_initializer(subject)
    if not has_initializer and mesh is None:
        return obj
    users = [
        container
        for container in workloads.items_at(spec, "initContainers")
        if not isinstance(container, dict)
        or not (
            (has_initializer and container.get("name") == INITIALIZER)
            or container.get("name") == SERVICE_MESH
        )
    ]
    first = []
    if has_initializer:
        first = [_initializer(values, mesh, components, namespace_suffix, endorsements)]
    last = [_sidecar(values, mesh, components)] if mesh is not None else []
    _ensure_volume(spec)
    mount = _template("volume")["name"]
    for container in [*users, *workloads.items_at(spec, "containers")]:
        if isinstance(container, dict):
            _mount(container, mount)
    spec["initContainers"] = [*first, *users, *last]
    if has_initializer and annotations.SECURE_PV in values:
        _ensure_state_volume(spec, values[annotations.SECURE_PV])
        _expect_propagation(subject, values[annotations.SECURE_PV])
    return obj


@cache
def _loaded(name: str) -> Any:
    return yaml.load(resources.read_text(f"templates/inject/{name}.yml"), yaml.CSafeLoader)


def _template(name: str) -> dict[str, Any]:
    template: dict[str, Any] = copy.deepcopy(_loaded(name))
    return template


def _initializer(
    values: dict[str, str],
    mesh: MeshConfig | None,
    components: Components,
    suffix: str,
    endorsements: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    container = _template("initializer")
    container["image"] = components.initializer_image
    container["env"][0]["value"] += suffix
    if mesh is None:
        # The guest refuses all incoming connections until somebody lifts that; without a mesh it is the initializer.
        container["env"].append({"name": "CONTRAST_SERVICE_MESH_DISABLED", "value": "true"})
    container["env"] += [dict(entry) for entry in endorsements]
    parts = values.get(annotations.SECURE_PV, "").split(":")
    if len(parts) == _SECURE_PV_PARTS:
        addition = _template("secure-pv")
        addition["volumeDevices"][0]["name"], addition["volumeMounts"][0]["name"] = parts
        addition["env"] = [*container["env"], *addition["env"]]
        addition["volumeMounts"] = [*container["volumeMounts"], *addition["volumeMounts"]]
        container |= addition
    return dict(sorted(container.items()))


def endorsement_variables(mirrors: Mapping[str, str], proxy: str) -> list[dict[str, str]]:
    """Return entries of a container's `env` that name mirrors and proxy of the vendors' services."""
    text = " ".join(f"{prefix}={replacement}" for prefix, replacement in sorted(mirrors.items()))
    variables = {VARIABLE_MIRRORS: text, VARIABLE_PROXY: proxy}
    return [{"name": name, "value": value} for name, value in variables.items() if value]


def _sidecar(
    values: dict[str, str], mesh: MeshConfig | None, components: Components
) -> dict[str, Any]:
    container = _template("service-mesh")
    container["image"] = components.service_mesh_image
    variables = {name: values.get(key) for key, name in annotations.MESH_VARIABLES.items()}
    env = [{"name": name, "value": value} for name, value in variables.items() if value]
    if env:
        container["env"] = env
    if mesh is not None and mesh.admin_port is not None:
        container["ports"] = [{"containerPort": mesh.admin_port, "name": "contrast-admin"}]
    return dict(sorted(container.items()))


def _ensure_volume(spec: dict[str, Any]) -> None:
    wanted = _template("volume")
    for _, volume in workloads.mappings_at(spec, "volumes"):
        if volume.get("name") == SECRETS_VOLUME:
            volume["emptyDir"] = {**workloads.mapping_at(volume, "emptyDir"), "medium": "Memory"}
            return
    spec["volumes"] = [*workloads.items_at(spec, "volumes"), wanted]


def _ensure_state_volume(spec: dict[str, Any], value: str) -> None:
    name = value.rpartition(":")[2]
    names = [volume.get("name") for _, volume in workloads.mappings_at(spec, "volumes")]
    if name and name not in names:
        spec["volumes"] = [*spec["volumes"], {"emptyDir": {"medium": "Memory"}, "name": name}]


def _needs_initializer(subject: Subject) -> None:
    subject.report(
        catalogue.SECURE_PV,
        (),
        "the pod has a secure-pv annotation, and the initializer, which encrypts the volume, is left out",
        "generate without --skip-initializer, or remove defaults.initializer from the settings",
    )


def _expect_propagation(subject: Subject, value: str) -> None:
    """Note a mount that the decrypted file system would never appear in, so that what is written there is lost."""
    name = value.rpartition(":")[2]
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


def _mount(container: dict[str, Any], name: str) -> None:
    # The mount stays where it stands if it is right already; one at another path is replaced.
    wanted = {"mountPath": "/contrast", "name": name}
    mounts = workloads.items_at(container, "volumeMounts")
    others = [mount for mount in mounts if not isinstance(mount, dict) or mount.get("name") != name]
    if wanted not in mounts or len(others) + 1 != len(mounts):
        container["volumeMounts"] = [*others, wanted]


def _clashes(subject: Subject, components: Components) -> bool:
    before = len(subject.findings)
    ours = {
        INITIALIZER: components.initializer_image,
        SERVICE_MESH: components.service_mesh_image,
    }
    skips = workloads.annotations(subject.obj).get(annotations.SKIP_INITIALIZER) == "true"
    for kind in ("initContainers", "containers"):
        for number, container in workloads.mappings_at(subject.spec, kind):
            name, path = container.get("name"), (*subject.spec_path, kind, number)
            if name not in ours or (skips and name == INITIALIZER):
                continue
            image = str(container.get("image"))
            if kind == "containers" or _repository(image) != _repository(ours[str(name)]):
                _clash(
                    subject,
                    (*path, "name"),
                    f"the container {name} with the image {image} stands where ours goes"
                    f" ({ours[str(name)]}); expected no container of that name",
                    'rename it; to keep an initializer of your own set skip-initializer to "true"',
                )
    for number, volume in workloads.mappings_at(subject.spec, "volumes"):
        if volume.get("name") != SECRETS_VOLUME:
            continue
        medium = workloads.mapping_at(volume, "emptyDir").get("medium", "")
        if "emptyDir" not in volume or medium not in MEDIA:
            _clash(
                subject,
                (*subject.spec_path, "volumes", number),
                f"the volume {SECRETS_VOLUME} is of type {kind_of(volume)}{f' with medium {medium}' if medium else ''},"
                " expected an emptyDir in memory",
                "rename the volume; the name is the initializer's",
            )
    return len(subject.findings) > before


def _clash(subject: Subject, path: Path, message: str, hint: str) -> None:
    subject.report(catalogue.CONTAINER_CLASH, path, message, hint)


def _repository(reference: str) -> str:
    # name[:tag][@digest] to name; a colon before the last slash is a registry's port.
    name = reference.partition("@")[0]
    head, slash, tail = name.rpartition("/")
    return head + slash + tail.partition(":")[0]
