"""The mounts of a container: from the runtime, the kubelet and the pod (docs/internals/policy.md 4.5)."""

import posixpath
from collections.abc import Iterator

from contrast_tasks import catalogue
from contrast_tasks.pods.volume_kinds import shortest_path
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Mount
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.volumes import Volume, volume_of
from contrast_tasks.records import Record

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_CGROUP_EXTRAS = ("nsdelegate", "memory_recursiveprot")
_PROPAGATION = {
    "None": "rprivate",
    "HostToContainer": "rslave",
    "Bidirectional": "rshared",
}

_SHM = "/dev/shm"  # noqa: S108  # a mount point in the guest
_DEVICES = (
    Mount(
        destination="/proc",
        type="proc",
        source=("eq", "proc"),
        options=(("nosuid", "noexec", "nodev"),),
    ),
    Mount(
        destination="/dev",
        type="tmpfs",
        source=("eq", "tmpfs"),
        options=(("nosuid", "strictatime", "mode=755", "size=65536k"),),
    ),
    Mount(
        destination="/dev/pts",
        type="devpts",
        source=("eq", "devpts"),
        options=(("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),),
    ),
    Mount(
        destination=_SHM,
        type="bind",
        source=("eq", "/run/kata-containers/sandbox/shm"),
        options=(("rbind",),),
    ),
    Mount(
        destination="/dev/mqueue",
        type="mqueue",
        source=("eq", "mqueue"),
        options=(("nosuid", "noexec", "nodev"),),
    ),
)


def pause_mounts(*, privileged: bool) -> tuple[Mount, ...]:
    """Return the mounts of the pause container; privileged: whether any container of the pod is."""
    # containerd 1.6 writes only the first two options.
    short = ("rbind", "ro")
    resolv = _file("/etc/resolv.conf", (*short, "nosuid", "nodev", "noexec"), short)
    # In a pod with a privileged container, newer runtimes mount /sys read-write in the pause container.
    access = ("ro", "rw") if privileged else ("ro",)
    return _sorted((*_DEVICES, _sys(access), resolv))


def container_mounts(
    context: PodContext, container: Place, image: ImageFacts
) -> tuple[tuple[Mount, ...], tuple[tuple[Volume, Mount], ...]]:
    """Return all expected mounts sorted by destination, and those of the pod's volumes with their volumes.

    A mount of a volume replaces a default mount with the same destination.
    """
    security = container.mapping("securityContext")
    privileged = security.flag("privileged")
    asked: set[str] = set()
    own = tuple(_volume_mounts(context, container, asked))
    places = {mount.destination for _, mount in own}
    # A mount at /dev takes the place of those below it, but not that of the shared memory.
    expected = {
        mount.destination: mount
        for mount in _DEVICES
        if "/dev" not in places
        or not mount.destination.startswith("/dev/")
        or mount.destination == _SHM
    }
    defaults = (
        _sys(("rw",) if privileged else ("ro",)),
        _cgroup("rw" if privileged else "ro"),
        *_kubelet_files(context, container, readonly=security.flag("readOnlyRootFilesystem")),
    )
    expected |= {mount.destination: mount for mount in defaults}
    expected |= {mount.destination: mount for _, mount in own}
    # Where a volume is mounted that cannot be, that alone is told.
    _refuse_image_volumes(container, image, {*expected, *asked})
    return _sorted(tuple(expected.values())), own


def _kubelet_files(context: PodContext, container: Place, *, readonly: bool) -> Iterator[Mount]:
    access = "ro" if readonly else "rw"
    yield _file("/etc/hosts", ("rbind", "rprivate", "rw"))
    yield _file("/etc/hostname", ("rbind", "rprivate", access))
    yield _file("/etc/resolv.conf", ("rbind", "rprivate", access))
    log = _destination(container, "terminationMessagePath", "/dev/termination-log")
    if log is not None:
        yield _file(log.shortest, ("rbind", "rprivate", "rw"), written=log.written)
    automount = context.given.service_account_automount
    if context.spec.flag("automountServiceAccountToken", default=automount):
        yield _file(SERVICE_ACCOUNT, ("rbind", "rprivate", "ro"))


def _volume_mounts(
    context: PodContext, container: Place, seen: set[str]
) -> Iterator[tuple[Volume, Mount]]:
    """Yield what is mounted; seen: receives the path of each mount, also of those that are refused."""
    for place in container.entries("volumeMounts"):
        destination = _destination(place, "mountPath")
        if destination is None:
            continue
        if destination.shortest in seen:
            place.report(catalogue.MOUNT_PATH, f"{destination.shortest} is mounted twice")
        seen.add(destination.shortest)
        volume = volume_of(context, place)
        if volume is not None:
            # The kubelet updates whole volumes, never a part of one that is mounted by itself.
            is_part = _check_part(place, volume)
            kept = volume.replace(watched=volume.watched and not is_part)
            yield kept, _volume_mount(place, destination, kept)


def _check_part(place: Place, volume: Volume) -> bool:
    """Return whether a part of a volume is mounted; report one that the host would choose.

    Files that the runtime copies are the host's choice in any case, and it copies a part as it copies the whole. Other volumes
    are made in the guest, and the shim cannot tell their parts from folders of the host.
    """
    keys = [key for key in ("subPath", "subPathExpr") if place.text(key)]
    for key in keys:
        path = place.text(key)
        if volume.source != "file":
            place.at(key).report(
                catalogue.UNSUPPORTED_FIELD,
                f"{key} is not supported for this volume: the host would choose what is mounted",
                "mount the whole volume and name the file in it; only configMap, secret, projected and downwardAPI may"
                " be mounted in part",
            )
        elif path.startswith("/") or ".." in path.split("/"):
            place.at(key).report(
                catalogue.MOUNT_PATH,
                f"{key} is {path!r}, which leads out of the volume",
                "write a relative path without '..'",
            )
    if len(keys) > 1:
        place.report(catalogue.MOUNT_PATH, "found subPath and subPathExpr, expected one", "")
    return bool(keys)


def _volume_mount(place: Place, destination: "_Destination", volume: Volume) -> Mount:
    named = place.text("mountPropagation") or "None"
    propagation = _PROPAGATION.get(named)
    if propagation is None:
        place.at("mountPropagation").wrong(f"one of {', '.join(_PROPAGATION)}")
        propagation = "rprivate"
    recursive = place.text("recursiveReadOnly") or "Disabled"
    if recursive != "Disabled":
        place.at("recursiveReadOnly").report(
            catalogue.UNSUPPORTED_FIELD, f"recursiveReadOnly: {recursive} is not supported", hint=""
        )
    access = "ro" if place.flag("readOnly") or volume.readonly else "rw"
    name = volume.path or volume.name
    if volume.source == "file":
        name = posixpath.basename(destination.shortest)
    return Mount(
        destination=destination.shortest,
        type="local" if volume.source == "local" else "bind",
        source=(volume.source, name),
        options=(("rbind", propagation, access),),
        written=destination.written,
    )


def _refuse_image_volumes(container: Place, image: ImageFacts, mounted: set[str]) -> None:
    for path in sorted(image.volumes):
        if shortest_path(path) in mounted:
            continue
        name = "data" + path.rstrip("/").replace("/", "-").replace("_", "-").replace(".", "-")
        container.report(
            catalogue.IMAGE_VOLUME,
            f"the image declares a VOLUME at {path}, which would be a directory of the host",
            f"add volumeMounts: [{{name: {name}, mountPath: {path}}}] to the container and "
            f"volumes: [{{name: {name}, emptyDir: {{}}}}] to the pod",
        )


class _Destination(Record, kw_only=False):
    """A mount point: its shortest form, and what the runtime passes on if that is another, else ""."""

    shortest: str
    written: str


def _destination(place: Place, key: str, default: str = "") -> _Destination | None:
    """Return the mount point in a field, None after an error.

    The kubelet puts a slash before a relative one and changes nothing else. Source: docs/internals/reality.md 1.14.
    """
    path = place.text(key) or default
    if not path:
        place.at(key).report(catalogue.MOUNT_PATH, "a path is missing")
        return None
    written = path if path.startswith("/") else f"/{path}"
    shortest = shortest_path(written)
    if shortest == "/" or not written.isprintable() or ":" in written:
        place.at(key).report(
            catalogue.MOUNT_PATH, f"{path!r} is not a printable path below the root, without colons"
        )
        return None
    return _Destination(shortest, "" if written == shortest else written)


def _file(destination: str, *options: tuple[str, ...], written: str = "") -> Mount:
    name = posixpath.basename(destination)
    return Mount(
        destination=destination,
        type="bind",
        source=("file", name),
        options=options,
        written=written,
    )


def _sys(access: tuple[str, ...]) -> Mount:
    return Mount(
        destination="/sys",
        type="sysfs",
        source=("eq", "sysfs"),
        options=tuple(("nosuid", "noexec", "nodev", mode) for mode in access),
    )


def _cgroup(access: str) -> Mount:
    return Mount(
        destination="/sys/fs/cgroup",
        type="cgroup",
        source=("eq", "cgroup"),
        options=(("nosuid", "noexec", "nodev", "relatime", access),),
        extra=_CGROUP_EXTRAS,
    )


def _sorted(mounts: tuple[Mount, ...]) -> tuple[Mount, ...]:
    return tuple(sorted(mounts, key=lambda each: each.destination))
