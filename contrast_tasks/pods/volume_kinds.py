"""The table of volume kinds: whether a confidential pod may use one, and how it reaches the guest.

Checks, policies, simulation and the local platform use it. A new kind needs an entry here, a case in
tests/pods/test_volume_kinds.py, and rules in templates/policy/rules.rego if it reaches the guest in a new way.
"""

import posixpath
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal, NamedTuple


class Reach(Enum):
    """How a volume reaches the guest."""

    COPIED = "the runtime copies its files into the guest and keeps them current; containers only read them"
    MADE = "the guest creates it as an empty directory"
    DEVICE = "a block device, which is attached under volumeDevices and never mounted"
    GUEST = "a folder or device of the guest's own, at the path that the volume names"
    SHARED = "a file system that the host can read and change; refused"


class ConfigSource(NamedTuple):
    """The kind of object that provides values or files, and the member of a reference that names the object."""

    kind: str
    name_key: str


class VolumeKind(NamedTuple):
    """One kind of volume.

    remedy: what to use instead of a refused kind. config: for a volume that holds one ConfigMap or Secret.
    is_local: whether the platform local supports it.
    """

    reach: Reach
    remedy: str = ""
    config: ConfigSource | None = None
    is_local: bool = False


class MadeDirectory(NamedTuple):
    """A directory that the guest creates: its file system type, and its options except those of an fsGroup."""

    fstype: str
    options: tuple[str, ...]


DirectoryKind = Literal["ephemeral", "local"]
# By the agent's names: a file system in memory, or a folder next to the copied ones.
MADE_DIRECTORIES: Final[Mapping[DirectoryKind, MadeDirectory]] = {
    "ephemeral": MadeDirectory(fstype="tmpfs", options=()),
    "local": MadeDirectory(fstype="local", options=("mode=0777",)),
}
# How the guest creates an emptyDir, by its medium.
MEDIA: Final[Mapping[str, DirectoryKind]] = {"": "local", "Memory": "ephemeral"}

_NO_FILES: Final = (
    "a confidential pod shares no file system with its node; use an emptyDir, or a block device with the"
    " secure-pv annotation"
)
# Source: Kubernetes, validation of volumeDevices: "can only use volume source type of PersistentVolumeClaim or Ephemeral
# for block mode".
_NO_DISK: Final = (
    "Kubernetes attaches only claims as block devices: use a persistentVolumeClaim with volumeMode: Block and"
    " the secure-pv annotation"
)
_FILES: Final = VolumeKind(Reach.SHARED, _NO_FILES)
# The shim leaves mounts of these folders as they are, and the guest mounts its own. Source: docs/internals/policy.md 4.5.
_GUESTS_OWN: Final = ("/dev", "/sys")
_OWN: Final = VolumeKind(
    Reach.GUEST,
    "on platform local there is no guest, whose folders these could be; use an emptyDir",
)
_DISK: Final = VolumeKind(Reach.SHARED, _NO_DISK)

# Source: Kubernetes API reference, core/v1 Volume.
VOLUME_KINDS: Final[Mapping[str, VolumeKind]] = {
    "awsElasticBlockStore": _DISK,
    "azureDisk": _DISK,
    "azureFile": _FILES,
    "cephfs": _FILES,
    "cinder": _DISK,
    "configMap": VolumeKind(Reach.COPIED, config=ConfigSource("ConfigMap", "name"), is_local=True),
    "csi": _FILES,
    "downwardAPI": VolumeKind(Reach.COPIED),
    "emptyDir": VolumeKind(Reach.MADE, is_local=True),
    "ephemeral": VolumeKind(Reach.DEVICE),
    "fc": _DISK,
    "flexVolume": _FILES,
    "flocker": _FILES,
    "gcePersistentDisk": _DISK,
    "gitRepo": _FILES,
    "glusterfs": _FILES,
    "hostPath": _FILES,
    "image": _FILES,
    "iscsi": _DISK,
    "nfs": _FILES,
    "persistentVolumeClaim": VolumeKind(Reach.DEVICE, is_local=True),
    "photonPersistentDisk": _DISK,
    "portworxVolume": _DISK,
    "projected": VolumeKind(Reach.COPIED),
    "quobyte": _FILES,
    "rbd": _DISK,
    "scaleIO": _DISK,
    "secret": VolumeKind(Reach.COPIED, config=ConfigSource("Secret", "secretName"), is_local=True),
    "storageos": _DISK,
    "vsphereVolume": _DISK,
}
ALLOWED: Final = tuple(
    name for name, kind in VOLUME_KINDS.items() if kind.reach is not Reach.SHARED
)
DEVICES: Final = tuple(name for name, kind in VOLUME_KINDS.items() if kind.reach is Reach.DEVICE)
CONFIG_VOLUMES: Final = {name: kind.config for name, kind in VOLUME_KINDS.items() if kind.config}


def kinds_of(volume: Mapping[str, Any]) -> list[str]:
    """Return the kinds of a volume; the API server accepts exactly one.

    One without a kind is an emptyDir. Source: Kubernetes, API defaults of core/v1 Volume.
    """
    kinds = [key for key, value in volume.items() if key != "name" and value is not None]
    return kinds or ["emptyDir"]


def kind_of(volume: Mapping[str, Any]) -> str:
    """Return the kind of a volume, "none" if it has none; several are joined by "and", which is not a known kind."""
    return " and ".join(kinds_of(volume)) or "none"


def known_kind(volume: Mapping[str, Any]) -> VolumeKind:
    """Return the entry of a volume's kind; an unknown kind is refused in the same way as shared files.

    A hostPath of a folder that the guest has itself means that one.
    """
    kind = kind_of(volume)
    if kind == "hostPath" and guest_path(volume):
        return _OWN
    return VOLUME_KINDS.get(kind, _FILES)


def guest_path(volume: Mapping[str, Any]) -> str:
    """Return the path of a hostPath that means the guest's own folder or device, "" for any other.

    Only one in its shortest form, but for a slash at its end, since the path is compared as text along the way.
    """
    source = volume.get("hostPath")
    path = source.get("path") if isinstance(source, dict) else None
    if not isinstance(path, str) or posixpath.normpath(path) != path.rstrip("/"):
        return ""
    is_own = any(path == each or path.startswith(f"{each}/") for each in _GUESTS_OWN)
    return path if is_own else ""


def shortest_path(path: str) -> str:
    """Return an absolute path without repeated slashes and dots; POSIX would keep two leading slashes."""
    return "/" + posixpath.normpath(path).lstrip("/")
