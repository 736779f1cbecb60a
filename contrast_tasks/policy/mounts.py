"""The mounts of a container: from the runtime, the kubelet and the pod (docs/internals/policy.md 4.5)."""

import posixpath
from collections.abc import Iterator, Mapping

from contrast_tasks import catalogue
from contrast_tasks.policy.context import PodContext
from contrast_tasks.policy.expectations import Mount
from contrast_tasks.policy.model import ImageFacts
from contrast_tasks.policy.place import Place
from contrast_tasks.policy.volumes import Volume, volume_of

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_CGROUP_EXTRAS = ("nsdelegate", "memory_recursiveprot")
_PROPAGATION = {
    "None": "rprivate",
    "HostToContainer": "rslave",
    "Bidirectional": "rshared",
}

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
        destination="/dev/shm",  # noqa: S108  # a mount point in the guest
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
    resolv = _file("/etc/resolv.conf", ("rbind", "ro", "nosuid", "nodev", "noexec"))
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
    own = tuple(_volume_mounts(context, container))
    expected = {mount.destination: mount for mount in _DEVICES}
    defaults = (
        _sys(("rw",) if privileged else ("ro",)),
        _cgroup("rw" if privileged else "ro"),
        *_kubelet_files(context, container, readonly=security.flag("readOnlyRootFilesystem")),
    )
    expected |= {mount.destination: mount for mount in defaults}
    expected |= {mount.destination: mount for _, mount in own}
    _refuse_image_volumes(container, image, expected)
    return _sorted(tuple(expected.values())), own


def _kubelet_files(context: PodContext, container: Place, *, readonly: bool) -> Iterator[Mount]:
    access = "ro" if readonly else "rw"
    yield _file("/etc/hosts", ("rbind", "rprivate", "rw"))
    yield _file("/etc/hostname", ("rbind", "rprivate", access))
    yield _file("/etc/resolv.conf", ("rbind", "rprivate", access))
    log = container.text("terminationMessagePath") or "/dev/termination-log"
    if _is_clean(container.at("terminationMessagePath"), log):
        yield _file(log, ("rbind", "rprivate", "rw"))
    automount = context.given.service_account_automount
    if context.spec.flag("automountServiceAccountToken", default=automount):
        yield _file(SERVICE_ACCOUNT, ("rbind", "rprivate", "ro"))


def _volume_mounts(context: PodContext, container: Place) -> Iterator[tuple[Volume, Mount]]:
    seen: set[str] = set()
    for place in container.entries("volumeMounts"):
        for key in ("subPath", "subPathExpr"):
            if place.has(key):
                place.at(key).report(
                    catalogue.UNSUPPORTED_FIELD,
                    f"{key} is not supported: the host would choose what is mounted",
                    "mount the whole volume and name the file in it",
                )
        destination = place.text("mountPath")
        if not _is_clean(place.at("mountPath"), destination):
            continue
        if destination in seen:
            place.report(catalogue.MOUNT_PATH, f"{destination} is mounted twice")
        seen.add(destination)
        volume = volume_of(context, place)
        if volume is not None:
            yield volume, _volume_mount(place, destination, volume)


def _volume_mount(place: Place, destination: str, volume: Volume) -> Mount:
    named = place.text("mountPropagation", "None")
    propagation = _PROPAGATION.get(named)
    if propagation is None:
        place.at("mountPropagation").wrong(f"one of {', '.join(_PROPAGATION)}")
        propagation = "rprivate"
    recursive = place.text("recursiveReadOnly", "Disabled")
    if recursive != "Disabled":
        place.at("recursiveReadOnly").report(
            catalogue.UNSUPPORTED_FIELD, f"recursiveReadOnly: {recursive} is not supported", hint=""
        )
    access = "ro" if place.flag("readOnly") or volume.readonly else "rw"
    name = posixpath.basename(destination) if volume.source == "file" else volume.name
    return Mount(
        destination=destination,
        type="local" if volume.source == "local" else "bind",
        source=(volume.source, name),
        options=(("rbind", propagation, access),),
    )


def _refuse_image_volumes(
    container: Place, image: ImageFacts, expected: Mapping[str, Mount]
) -> None:
    for path in sorted(image.volumes):
        if path.rstrip("/") in expected or path in expected:
            continue
        name = "data" + path.rstrip("/").replace("/", "-").replace("_", "-").replace(".", "-")
        container.report(
            catalogue.IMAGE_VOLUME,
            f"the image declares a VOLUME at {path}, which would be a directory of the host",
            f"add volumeMounts: [{{name: {name}, mountPath: {path}}}] to the container and "
            f"volumes: [{{name: {name}, emptyDir: {{}}}}] to the pod",
        )


def _is_clean(place: Place, path: str) -> bool:
    is_short = path.startswith("/") and path != "/" and posixpath.normpath(path) == path
    if is_short and path.isprintable():
        return True
    if isinstance(place.value, str):
        place.report(
            catalogue.MOUNT_PATH,
            f"{path!r} is not a printable absolute path in its shortest form",
            f"write {posixpath.normpath('/' + path)}" if path.strip("/") and not is_short else "",
        )
    else:
        place.report(catalogue.MOUNT_PATH, "a path is missing")
    return False


def _file(destination: str, options: tuple[str, ...]) -> Mount:
    name = posixpath.basename(destination.rstrip("/"))
    return Mount(destination=destination, type="bind", source=("file", name), options=(options,))


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
