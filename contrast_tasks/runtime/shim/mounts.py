"""What becomes of a container's mounts in its guest: storages that the agent makes, copied files, or nothing.

Source: docs/internals/policy.md 3.5, 4.5 and 4.10.
"""

import base64
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from contrast_tasks.agent_messages import filled_storage
from contrast_tasks.releases.shims import EmptyDirs
from contrast_tasks.runtime.host_files import HostFiles, Tree
from contrast_tasks.runtime.shim.copies import GUEST_FOLDER

Mount = Mapping[str, Any]
"""A mount with the members of an OCI specification."""

_SANDBOX = "/run/kata-containers/sandbox"
SHM_STORAGE = filled_storage(
    driver="ephemeral",
    source="shm",
    fstype="tmpfs",
    options=["noexec", "nosuid", "nodev", "mode=1777", "size=67108864"],
    mount_point=f"{_SANDBOX}/shm",
)
_SHM = "/dev/shm"  # noqa: S108  # a mount point
_EMPTY_DIR = "/kubernetes.io~empty-dir/"
# Mounts of these folders of the host mean those of the guest.
_SYSTEM = ("/proc", "/sys", "/dev")
# What is a folder or a device below the host's own /dev, so that a mount there is taken for the host's device.
_HOST_DEVICES = frozenset(
    f"/dev/{name}".rstrip("/") for name in ("", "mqueue", "pts", "hugepages", "null", "zero")
)
_BLOCK_OPTIONS: Mapping[EmptyDirs, tuple[list[str], list[str]]] = {
    "block-encrypted": (["encryption_key=ephemeral", "create_filesystem"], []),
    "block-plain": (["create_filesystem"], ["discard"]),
}


class Copied(NamedTuple):
    """A tree of the host that is copied for one mount; folder: its root in the guest."""

    source: str
    folder: str
    tree: Tree
    destination: str


class GuestMounts(NamedTuple):
    """The mounts as the guest sees them, the storages behind them in the order of the message, and what is copied."""

    mounts: tuple[Mount, ...]
    storages: tuple[Mapping[str, Any], ...]
    copies: tuple[Copied, ...]


class Guest(NamedTuple):
    """What mounts depend on besides themselves.

    name_copy: gives a destination's copy its name in the guest. disk_address: the address of the disk for a folder of the
    host, attached if it is not yet; layer_address: of the disk for a layer of that name. root_end: what follows an
    identifier in the paths of root file systems.
    """

    empty_dirs: EmptyDirs
    sandbox_id: str
    files: HostFiles
    name_copy: Callable[[str], str]
    disk_address: Callable[[str], str]
    layer_address: Callable[[str], str]
    root_end: str = "/rootfs"


def guest_mounts(given: list[Mount], guest: Guest) -> GuestMounts:
    """Return what becomes of the mounts of a container."""
    mounts: list[Mount] = []
    copies: list[Copied] = []
    # The shim goes through the mounts once for each kind of storage.
    in_memory, local, disks = [], [], []
    for mount in given:
        source = mount["source"]
        is_disk = _is_empty_dir(mount) and source not in guest.files.in_memory
        if _is_empty_dir(mount) and not is_disk:
            storage = _memory_storage(source, guest)
            in_memory.append(storage)
            mounts.append({**mount, "source": storage["mount_point"]})
        elif is_disk and guest.empty_dirs != "local":
            storage = _disk_storage(source, guest)
            disks.append(storage)
            mounts.append({**mount, "source": storage["mount_point"]})
        elif mount["destination"] == _SHM:
            shm = {"type": "bind", "source": SHM_STORAGE["mount_point"], "options": ["rbind"]}
            mounts.append({**mount, **shm})
        elif is_disk:
            storage = _local_storage(source, guest)
            local.append(storage)
            mounts.append({**mount, "type": "local", "source": storage["mount_point"]})
        elif _is_the_guests(mount):
            mounts.append(mount)
        else:
            for copied in _copied(mount, guest):
                copies.append(copied)
                mounts.append({**mount, "source": copied.folder})
    return GuestMounts(tuple(mounts), (*in_memory, *local, *disks), tuple(copies))


def _is_empty_dir(mount: Mount) -> bool:
    return mount["type"] == "bind" and _EMPTY_DIR in mount["source"]


def _is_the_guests(mount: Mount) -> bool:
    """Return whether a mount passes as it is: it is no bind mount, or of the system's own folders."""
    if mount["type"] != "bind":
        return True
    is_system = any(
        mount["source"] == each or mount["source"].startswith(f"{each}/") for each in _SYSTEM
    )
    return is_system or posixpath.normpath(mount["destination"]) in _HOST_DEVICES


def _copied(mount: Mount, guest: Guest) -> Iterator[Copied]:
    """Yield the copy of a mount's source; what is neither file nor folder is left out, and so is its mount."""
    tree = guest.files.trees.get(mount["source"])
    if tree is not None:
        name = guest.name_copy(posixpath.basename(mount["destination"].rstrip("/")))
        yield Copied(mount["source"], f"{GUEST_FOLDER}{name}", tree, mount["destination"])


def _memory_storage(source: str, guest: Guest) -> Mapping[str, Any]:
    return filled_storage(
        driver="ephemeral",
        source="tmpfs",
        fstype="tmpfs",
        options=_group_option(source, guest),
        mount_point=f"{_SANDBOX}/ephemeral/{posixpath.basename(source)}",
    )


def _local_storage(source: str, guest: Guest) -> Mapping[str, Any]:
    folder = f"{GUEST_FOLDER}{guest.sandbox_id}{guest.root_end}/local"
    return filled_storage(
        driver="local",
        source="local",
        fstype="local",
        options=["mode=0777", *_group_option(source, guest)],
        mount_point=f"{folder}/{posixpath.basename(source)}",
    )


def _disk_storage(source: str, guest: Guest) -> Mapping[str, Any]:
    address = guest.disk_address(source)
    driver_options, options = _BLOCK_OPTIONS[guest.empty_dirs]
    group = guest.files.groups.get(source)
    return filled_storage(
        driver="scsi",
        driver_options=driver_options,
        source=address,
        fstype="ext4",
        options=options,
        mount_point=f"{_SANDBOX}/storage/{base64.urlsafe_b64encode(address.encode()).decode()}",
        fs_group=None if group is None else {"group_id": group, "group_change_policy": 0},
        shared=True,
    )


def _group_option(source: str, guest: Guest) -> list[str]:
    group = guest.files.groups.get(source)
    return [] if group is None else [f"fsgid={group}"]
