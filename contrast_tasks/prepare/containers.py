"""The containers that `generate` adds to pods, as the runtime's release and the owner of the images have them.

They are data in templates/inject/, to which settings, annotations and memory are added.
Source: docs/internals/releases.md 5.1 to 5.3; docs/internals/generate.md 8.1 to 8.4.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import yaml

from contrast_tasks import annotations, resources, variables
from contrast_tasks.kube import nodes
from contrast_tasks.lifetimes import DEFAULT
from contrast_tasks.pods.injected import SECRETS_VOLUME
from contrast_tasks.prepare.memory import ImageMemory
from contrast_tasks.records import Record
from contrast_tasks.releases.table import Memory
from contrast_tasks.settings.model import Settings

if TYPE_CHECKING:
    from contrast_tasks.mesh.model import MeshConfig

# What our own processes take besides their images, in MiB: measured 45 for the initializer, 54 for the sidecar while it renews
# certificates, 52 for Envoy's program and at most 96 for its connections (docs/internals/runtime.md 8).
_INITIALIZER_MIB: Final = 64
_SIDECAR_MIB: Final = 208
_SECURE_PV: Final = Memory(request_mib=100)
# Our image has an interpreter and no shell.
_HOLD: Final = ["python3", "-c", "import signal; signal.pause()"]

Container = dict[str, Any]
"""A container or a volume of a pod, as YAML has it."""


class Containers(Record):
    """Makes the containers of pods; memory: what our own images take in the guest."""

    settings: Settings
    memory: ImageMemory

    def initializer(
        self, host_suffix: str, *, secure_pvs: Sequence[tuple[str, str]], has_mesh: bool
    ) -> Container:
        """Return the initializer.

        host_suffix: "" or `.<namespace>`, appended to the Coordinator's host name. secure_pvs: names of devices and mounts.
        has_mesh: whether annotations ask for the mesh.
        """
        container = _template("initializer")
        container["image"] = self.settings.components.initializer
        container["env"][0]["value"] += host_suffix
        form = self.settings.release.injected.initializer
        if secure_pvs:
            addition, form = _secure_pv(secure_pvs), _SECURE_PV
            for key in ("env", "volumeMounts"):
                addition[key] = [*container[key], *addition[key]]
            container |= addition
        process_mib = form.request_mib if secure_pvs else _INITIALIZER_MIB
        container["resources"] = self._resources(form, process_mib, self.memory.initializer_mib)
        if not has_mesh:
            # The guest refuses incoming connections until the sidecar allows them; without a mesh the initializer does. If
            # the settings leave out a sidecar that annotations ask for, nobody does (docs/internals/releases.md 4).
            container["env"].append({"name": variables.MESH_DISABLED, "value": "true"})
        container["env"] += endorsement_variables(self.settings)
        return _ordered(container)

    def sidecar(
        self, values: Mapping[str, str], mesh: "MeshConfig", host_suffix: str = ""
    ) -> Container:
        """Return the mesh sidecar; values: the pod's annotations. host_suffix: as for the initializer."""
        container = _template("service-mesh")
        container["image"] = self.settings.components.service_mesh
        given = {name: values.get(key) for key, name in annotations.MESH_VARIABLES.items()}
        env = [{"name": name, "value": value} for name, value in given.items() if value]
        if not self.settings.components.are_reference:
            # Ours renews certificates, which it asks for as the initializer does.
            host = _template("initializer")["env"][0]
            host["value"] += host_suffix
            env += [host, *endorsement_variables(self.settings)]
        if env:
            container["env"] = env
        if mesh.admin_port is not None:
            container["ports"] = [{"containerPort": mesh.admin_port, "name": "contrast-admin"}]
        if self.settings.components.are_reference:
            container["args"] = ["-l", "debug"]
        form = self.settings.release.injected.service_mesh
        if form is not None:
            container["resources"] = self._resources(
                form, _SIDECAR_MIB, self.memory.service_mesh_mib
            )
        return _ordered(container)

    def image_store(self, size: str | None) -> tuple[Container, Container]:
        """Return the container that holds the image store, and the store's volume; size: by default that of the settings."""
        container, volume = _template("image-store"), _template("image-store-volume")
        container["image"] = self.settings.components.initializer
        if not self.settings.components.are_reference:
            container["command"] = [*_HOLD]
        form = self.settings.release.injected.image_store_memory
        if form is not None:
            container["resources"] = self._resources(
                form, _INITIALIZER_MIB, self.memory.initializer_mib
            )
        claim = volume["ephemeral"]["volumeClaimTemplate"]["spec"]
        claim["resources"]["requests"]["storage"] = size or self.settings.image_store_size
        return _ordered(container), volume

    def folder(self, name: str) -> Container:
        """Return the volume for certificates, or for what an encrypted volume holds; ours is always in memory."""
        medium = self.settings.release.injected.secrets_medium
        if not self.settings.components.are_reference:
            medium = "Memory"
        return {"emptyDir": {"medium": medium} if medium else {}, "name": name}

    def secrets_mount(self) -> Container:
        """Return the mount of the certificates in all containers but the injected ones."""
        mount: Container = {"mountPath": "/contrast", "name": SECRETS_VOLUME}
        is_read_only = self.settings.release.injected.is_mount_read_only
        return {**mount, "readOnly": True} if is_read_only else mount

    def _resources(self, form: Memory, process_mib: int, image_mib: int) -> Container:
        """Return request and limit in the release's form, for ours with what our process and its image take."""
        is_theirs = self.settings.components.are_reference
        memory = {"memory": f"{form.request_mib if is_theirs else process_mib + image_mib}Mi"}
        return (
            {"limits": memory, "requests": {**memory}} if form.has_limit else {"requests": memory}
        )


def _secure_pv(pairs: Sequence[tuple[str, str]]) -> Container:
    """Return what an initializer with encrypted volumes has besides; the first is where the reference product has its own.

    Source: docs/internals/runtime.md 7.4.
    """
    addition = _template("secure-pv")
    (device,), (mount,) = addition["volumeDevices"], addition["volumeMounts"]
    first = device["devicePath"].removesuffix("0")
    paths = [f"{first}{number}" for number in range(len(pairs))]
    addition["env"][0]["value"] = ",".join(paths)
    addition["volumeDevices"] = [
        {**device, "devicePath": path, "name": name}
        for path, (name, _) in zip(paths, pairs, strict=True)
    ]
    addition["volumeMounts"] = [
        {**mount, "mountPath": f"{mount['mountPath']}{number or ''}", "name": name}
        for number, (_, name) in enumerate(pairs)
    ]
    return addition


def endorsement_variables(settings: Settings) -> list[dict[str, str]]:
    """Return entries of a container's `env` that name mirrors and proxy of the vendors' services, for images of ours."""
    pairs = sorted(settings.mirrors.items())
    values = {
        variables.ENDORSEMENTS_MIRRORS: " ".join(f"{prefix}={mirror}" for prefix, mirror in pairs),
        variables.ENDORSEMENTS_PROXY: settings.proxy,
    }
    is_theirs = settings.components.are_reference
    return [
        {"name": name, "value": value} for name, value in values.items() if value and not is_theirs
    ]


def coordinator_variables(settings: Settings) -> list[dict[str, str]]:
    """Return the entries of a Coordinator's `env` that settings ask for, for an image of ours."""
    found = endorsement_variables(settings)
    lifetime = settings.certificate_lifetime
    if lifetime != DEFAULT and not settings.components.are_reference:
        found.append({"name": variables.CERTIFICATE_LIFETIME, "value": lifetime})
    return found


@cache
def _loaded(name: str) -> Any:
    return yaml.load(resources.read_text(f"templates/inject/{name}.yml"), yaml.CSafeLoader)


def _template(name: str) -> Container:
    template: Container = nodes.copied(_loaded(name))
    return template


def _ordered(container: Container) -> Container:
    return dict(sorted(container.items()))
