"""The mounts of sandbox and containers (docs/internals/reality.md 1.14)."""

import posixpath
from collections.abc import Sequence
from typing import Any, NamedTuple

from contrast_tasks.runtime.containerd_versions import Containerd
from contrast_tasks.runtime.cri import ContainerConfig, Mount, SandboxConfig
from contrast_tasks.runtime.node import Drawn, Image, Node

_STATE = "/run/containerd/io.containerd.grpc.v1.cri"
_ROOT = "/var/lib/containerd/io.containerd.grpc.v1.cri"
_SHM = "/dev/shm"  # noqa: S108  # a mount point
_RESOLV = "/etc/resolv.conf"


class OciMount(NamedTuple):
    """One mount of a specification, in the order of its members."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the mount with the member names of the specification."""
        return {**self._asdict(), "options": list(self.options)}


_DEFAULTS = (
    OciMount("/proc", "proc", "proc", ("nosuid", "noexec", "nodev")),
    OciMount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    OciMount(
        "/dev/pts",
        "devpts",
        "devpts",
        ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
    ),
    OciMount(_SHM, "tmpfs", "shm", ("nosuid", "noexec", "nodev", "mode=1777", "size=65536k")),
    OciMount("/dev/mqueue", "mqueue", "mqueue", ("nosuid", "noexec", "nodev")),
)


def sandbox_mounts(config: SandboxConfig, version: Containerd, drawn: Drawn) -> list[OciMount]:
    """Return the mounts of the sandbox."""
    options = version.sandbox_file_options
    kept = version.keeps_sandbox_tmpfs
    writable = config.privileged and version.writable_sandbox_sys
    return [
        *(each for each in _DEFAULTS if kept or each.destination != _SHM),
        _sys(writable=writable),
        OciMount(_SHM, "bind", _shm(config, drawn), options),
        OciMount(_RESOLV, "bind", f"{sandbox_folder(drawn)}/resolv.conf", options),
    ]


def container_mounts(
    config: ContainerConfig, sandbox: SandboxConfig, image: Image, node: Node, drawn: Drawn
) -> list[OciMount]:
    """Return the mounts of a container: the defaults that no bind mount covers, then all bind mounts.

    These come sorted by the number of their path components, so that an outer one does not hide an inner one. Their
    destinations are written as CRI has them, and compared in their shortest form.
    """
    asked = {_clean(each.container_path) for each in config.mounts}
    own = (
        *_own_mounts(config, sandbox, drawn),
        *_image_volumes(config, image, node.containerd, drawn),
    )
    extra = [each for each in own if _clean(each.container_path) not in asked]
    mounts = sorted((*config.mounts, *extra), key=_depth)
    covered = {_clean(each.container_path) for each in mounts}
    privileged = config.security.privileged
    defaults = (*_DEFAULTS, _sys(writable=privileged), _cgroup(writable=privileged))
    return [
        *(each for each in defaults if not _is_covered(each.destination, covered)),
        *(_bind(each, node.containerd) for each in mounts),
    ]


def rootfs_propagation(mounts: Sequence[Mount]) -> str:
    """Return the propagation of the root file system, "" where no mount needs any."""
    found = {each.propagation for each in mounts}
    return next((f"r{each}" for each in ("shared", "slave") if each in found), "")


def _own_mounts(config: ContainerConfig, sandbox: SandboxConfig, drawn: Drawn) -> tuple[Mount, ...]:
    folder = sandbox_folder(drawn)
    readonly = config.security.readonly_rootfs
    return (
        Mount(host_path=f"{folder}/hostname", container_path="/etc/hostname", readonly=readonly),
        Mount(host_path=f"{folder}/hosts", container_path="/etc/hosts", readonly=readonly),
        Mount(host_path=f"{folder}/resolv.conf", container_path=_RESOLV, readonly=readonly),
        Mount(host_path=_shm(sandbox, drawn), container_path=_SHM),
    )


def _image_volumes(
    config: ContainerConfig, image: Image, version: Containerd, drawn: Drawn
) -> tuple[Mount, ...]:
    folder = image_volume(config.name, drawn)
    paths = sorted(image.volumes)
    if version.absolute_volumes:
        paths = [path if path.startswith("/") else _clean(f"/{path}") for path in paths]
    return tuple(Mount(host_path=folder, container_path=path) for path in paths)


def image_volume(container: str, drawn: Drawn) -> str:
    """Return the folder for a VOLUME of a container's image."""
    return f"{_ROOT}/containers/{drawn.container_ids[container]}/volumes/{drawn.volume_id}"


def _bind(mount: Mount, version: Containerd) -> OciMount:
    access = "ro" if mount.readonly else "rw"
    if mount.readonly and mount.recursive_readonly and version.knows_recursive_readonly:
        access = "rro"
    options = ("rbind", f"r{mount.propagation}", access)
    return OciMount(mount.container_path, "bind", mount.host_path, options)


def _sys(*, writable: bool) -> OciMount:
    access = "rw" if writable else "ro"
    return OciMount("/sys", "sysfs", "sysfs", ("nosuid", "noexec", "nodev", access))


def _cgroup(*, writable: bool) -> OciMount:
    options = ("nosuid", "noexec", "nodev", "relatime", "rw" if writable else "ro")
    return OciMount("/sys/fs/cgroup", "cgroup", "cgroup", options)


def _is_covered(destination: str, covered: set[str]) -> bool:
    """Return whether a bind mount takes a default one's place; one at /dev takes those below it too."""
    below = destination.startswith("/dev/") and "/dev" in covered
    return destination in covered or below


def _shm(config: SandboxConfig, drawn: Drawn) -> str:
    own = f"{_STATE}/sandboxes/{drawn.sandbox_id}/shm"
    return _SHM if config.namespaces.ipc == "node" else own


def sandbox_folder(drawn: Drawn) -> str:
    """Return the folder with the files that containerd writes for a pod."""
    return f"{_ROOT}/sandboxes/{drawn.sandbox_id}"


def _depth(mount: Mount) -> int:
    return _clean(mount.container_path).count("/")


def _clean(path: str) -> str:
    """Return the shortest spelling; POSIX keeps two leading slashes, Go does not."""
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned
