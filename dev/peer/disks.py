"""The disks of emptyDirs: in the peer's suite each mount of a volume may have another one, in our rules a volume has one."""

from collections.abc import Mapping
from typing import Any

_DRIVERS = {"blk", "scsi"}
_NOWHERE = "no disk of its own"


def with_disks(found: dict[str, Any], asked: Mapping[str, Any], honest: Mapping[str, Any]) -> None:
    """Give all mounts of a volume the disk of the first one, and mounts that were not asked for one that none has.

    found: the request, which is changed. asked: as it is in the suite. honest: an honest one, which tells the volumes.
    """
    volumes = _volumes(honest)
    if not volumes:
        return
    disks = [each for each in found["storages"] if _is_disk(each)]
    given = {each.get("destination") for each in asked.get("OCI", {}).get("Mounts", ())}
    mounts = [each for each in found["OCI"]["Mounts"] if each.get("destination") in volumes]
    unused = [each for each in disks if each["mount_point"] not in {m["source"] for m in mounts}]
    first: dict[str, dict[str, Any]] = {}
    taken: list[int] = []
    for mount in sorted(mounts, key=lambda each: each.get("destination") not in given):
        if mount.get("destination") not in given:
            if not unused:
                continue
            mount["source"] = unused.pop(0)["mount_point"]
        mine = [
            each
            for each in disks
            if each["mount_point"] == mount["source"] and id(each) not in taken
        ]
        if len(mine) != 1:
            # The disk of another mount, or of none: with the peer an error, with ours perhaps the disk of the volume.
            mount["source"] = _NOWHERE
            continue
        taken.append(id(mine[0]))
        disk = first.setdefault(volumes[mount["destination"]], mine[0])
        mine[0].update(source=disk["source"], mount_point=disk["mount_point"])
        mount["source"] = disk["mount_point"]


def _volumes(honest: Mapping[str, Any]) -> dict[str, str]:
    """Return the honest place of the disk at each destination that has one; a place stands for a volume."""
    places = {each["mount_point"] for each in honest["storages"] if _is_disk(each)}
    return {
        each["destination"]: each["source"]
        for each in honest["OCI"]["Mounts"]
        if each["source"] in places
    }


def _is_disk(storage: Any) -> bool:
    return isinstance(storage, Mapping) and storage.get("driver") in _DRIVERS
