"""The volumes of a pod: how each reaches the guest, and the storages it needs (docs/internals/policy.md 4.5)."""

import posixpath
from collections import Counter
from collections.abc import Iterable

from contrast_tasks import catalogue
from contrast_tasks.pods.volume_kinds import (
    MADE_DIRECTORIES,
    MEDIA,
    Reach,
    guest_path,
    kind_of,
    known_kind,
)
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Mount, SourceKind, Storage
from contrast_tasks.policy.gpus import DEVICE_PREFIX
from contrast_tasks.policy.names import is_label
from contrast_tasks.policy.place import Place
from contrast_tasks.records import Record


class Volume(Record):
    """How a volume reaches the guest.

    readonly: whether the kubelet always mounts it read-only. watched: whether its files may change later. path: in the guest,
    of a volume that means the guest's own folder.
    """

    name: str
    source: SourceKind
    readonly: bool = False
    watched: bool = False
    path: str = ""


def volume_of(context: PodContext, mount: Place) -> Volume | None:
    """Return the volume of a volumeMount, None after an error if it is missing or cannot be protected."""
    name = mount.text("name")
    volume = context.volumes.get(name)
    if volume is None:
        if name in context.given.block_claims:
            _refuse_file_system(mount, name, "a claim template")
        else:
            mount.at("name").report(
                catalogue.VOLUME,
                f"the pod has no volume {name!r}",
                f"known are {', '.join(sorted(context.volumes)) or 'none'}",
            )
        return None
    kind = known_kind(volume.value)
    if kind.reach is Reach.COPIED:
        return Volume(name=name, source="file", readonly=True, watched=True)
    if kind.reach is Reach.MADE:
        return _empty_dir(context, volume, name)
    if kind.reach is Reach.GUEST:
        path = guest_path(volume.value)
        volume.report(
            catalogue.WEAKER_IN_GUEST,
            f"volume {name!r} is {path} of the guest, not of the node",
            hint="",
        )
        return Volume(name=name, source="eq", path=path)
    named = kind_of(volume.value)
    if kind.reach is Reach.DEVICE:
        _refuse_file_system(mount, name, named)
    else:
        volume.report(
            catalogue.VOLUME,
            f"volume {name!r} is of type {named}, which the host can read and change",
            kind.remedy,
        )
    return None


def container_devices(context: PodContext, container: Place) -> tuple[str, ...]:
    """Return the device paths of block volumes, sorted."""
    paths = []
    for place in container.entries("volumeDevices"):
        name, path = place.text("name"), place.text("devicePath")
        volume = context.volumes.get(name)
        mode = context.given.block_claims.get(name)
        if volume is not None and known_kind(volume.value).reach is Reach.DEVICE:
            mode = _claim_mode(context, volume)
        if mode is None:
            place.at("name").report(catalogue.VOLUME, f"the pod has no block volume {name!r}")
        elif mode != "Block":
            place.at("name").report(
                catalogue.VOLUME,
                f"volume {name!r} has volumeMode {mode}, but is used as a device",
                "set volumeMode: Block in its claim",
            )
        if not path.startswith("/dev/") or posixpath.normpath(path) != path:
            place.at("devicePath").report(
                catalogue.MOUNT_PATH, f"{path!r} is not a path below /dev"
            )
        if path.startswith(DEVICE_PREFIX):
            place.at("devicePath").report(
                catalogue.MOUNT_PATH,
                f"{path} is where passed-through devices appear",
                "use another path",
            )
        if path in paths:
            place.at("devicePath").report(
                catalogue.MOUNT_PATH, f"{path} is the path of two devices", "use another path"
            )
        paths.append(path)
    return tuple(sorted(paths))


def container_storages(
    context: PodContext, mounts: Iterable[tuple[Volume, Mount]]
) -> tuple[Storage, ...]:
    """Return the storages that the container's mounts need, sorted by kind and volume."""
    uses = Counter((volume.source, volume.name) for volume, _ in mounts)
    fs_group = context.security.number("fsGroup")
    shares = (f"fsgid={fs_group}",) if fs_group else ()
    made = tuple(
        Storage(
            kind=kind,
            volume=name,
            options=(*made.options, *shares),
            counts=tuple(range(1, times + 1)),
        )
        for kind, made in MADE_DIRECTORIES.items()
        for (source, name), times in sorted(uses.items())
        if source == kind
    )
    disks = tuple(
        Storage(
            kind="block",
            volume=name,
            options=(),
            counts=tuple(range(1, times + 1)),
            fs_group=fs_group,
        )
        for (source, name), times in sorted(uses.items())
        if source == "block"
    )
    return made + disks


def _empty_dir(context: PodContext, volume: Place, name: str) -> Volume | None:
    empty_dir = volume.mapping("emptyDir")
    medium = empty_dir.text("medium")
    if not is_label(name):
        volume.at("name").report(
            catalogue.VOLUME,
            f"the volume's name {name!r} is not a DNS label, and would become part of a path",
            "write 1 to 63 lower-case letters, digits and dashes",
        )
        return None
    source: SourceKind | None = MEDIA.get(medium)
    if source == "local":
        source = "local" if context.profile.empty_dirs == "local" else "block"
    if source is None:
        empty_dir.at("medium").report(
            catalogue.VOLUME,
            f"medium {medium!r} is not supported",
            "leave it out or use Memory",
            answer=("empty_dirs", [name]),
        )
        return None
    return Volume(name=name, source=source)


def _refuse_file_system(mount: Place, name: str, kind: str) -> None:
    mount.report(
        catalogue.VOLUME,
        f"volume {name!r} ({kind}) is mounted as a file system, which the host can read and change",
        "set volumeMode: Block, attach it with volumeDevices and encrypt it in the guest (annotation secure-pv)",
    )


def _claim_mode(context: PodContext, volume: Place) -> str:
    """Return the volumeMode of a claim; one that is defined elsewhere is taken to match its use."""
    if volume.has("ephemeral"):
        template = volume.mapping("ephemeral").mapping("volumeClaimTemplate")
        return template.mapping("spec").text("volumeMode", "Filesystem")
    name = volume.mapping("persistentVolumeClaim").text("claimName")
    return context.given.claims.get(name, "Block")
