"""What contrast.toml answers findings with: resources, users, capabilities, links, volumes, and fields to leave out.

A prepared object is changed in place; the source stays as it is. Source: docs/internals/generate.md 10.
"""

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from contrast_tasks.images.lock import LockedImage
from contrast_tasks.kube import workloads
from contrast_tasks.kube.workloads import mapping_at, mappings_at
from contrast_tasks.pods.quantities import QuantityError, parse_bytes, parse_quantity
from contrast_tasks.pods.volume_kinds import MEDIA, kind_of, shortest_path
from contrast_tasks.settings.workloads import ContainerSettings, WorkloadSettings

_LABEL: Final = 63
IMAGE_VOLUME: Final = "image-volume-"
"""Beginning of the names of volumes that take the place of an image's own."""
_KINDS: Final = ("initContainers", "containers")


def remove_fields(spec: dict[str, Any], fields: Sequence[str]) -> list[str]:
    """Leave fields out of a pod's spec; return those that it does not have."""
    return [field for field in fields if not _remove(spec, field.split("."))]


def _remove(value: Any, steps: list[str]) -> bool:
    step, *rest = steps
    if isinstance(value, list):
        items = [each for each in value if _is_named(each, step)]
        if rest:
            return any([_remove(each, rest) for each in items])  # noqa: C419  # from all of them
        value[:] = [each for each in value if not _is_named(each, step)]
        return bool(items)
    if not isinstance(value, dict):
        return False
    keys = [key for key in value if fnmatchcase(str(key), step)]
    if rest:
        return any([_remove(value[key], rest) for key in keys])  # noqa: C419
    for key in keys:
        del value[key]
    return bool(keys)


def _is_named(item: Any, pattern: str) -> bool:
    return isinstance(item, dict) and fnmatchcase(str(item.get("name")), pattern)


def empty_volumes(obj: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Let volumes and claims be emptyDirs; return the names that the pod does not have."""
    spec, whole = workloads.pod_spec(obj), mapping_at(obj, "spec")
    absent = []
    for name in names:
        found = False
        for _, volume in mappings_at(spec, "volumes"):
            claim = mapping_at(volume, "persistentVolumeClaim").get("claimName")
            if name == claim or fnmatchcase(str(volume.get("name")), name):
                found = True
                kept: dict[str, Any] = {"name": volume.get("name"), "emptyDir": {}}
                own = mapping_at(volume, "emptyDir")
                if (own.get("medium") or "") in MEDIA:
                    # It may be one already, of a size that the vendor has chosen.
                    kept["emptyDir"] = own
                volume.clear()
                volume.update(kept)
        if obj.get("kind") == "StatefulSet" and _empty_claims(spec, whole, name):
            found = True
        if not found:
            absent.append(name)
    return absent


def _empty_claims(spec: dict[str, Any], whole: dict[str, Any], name: str) -> bool:
    claims = workloads.items_at(whole, "volumeClaimTemplates")
    titles = [str(mapping_at(claim, "metadata").get("name")) for claim in claims]
    chosen = [title for title in titles if fnmatchcase(title, name)]
    if chosen:
        left = [claim for claim, title in zip(claims, titles, strict=True) if title not in chosen]
        if left:
            whole["volumeClaimTemplates"] = left
        else:
            del whole["volumeClaimTemplates"]
        added = [{"name": title, "emptyDir": {}} for title in chosen]
        spec["volumes"] = [*workloads.items_at(spec, "volumes"), *added]
    return bool(chosen)


def split_empty_dirs(obj: Mapping[str, Any]) -> None:
    """Let each part of an emptyDir that containers mount by itself be an emptyDir of its own.

    The shim cannot tell a part from a folder of the host, so no policy allows one; new folders are empty, one or several. A
    volume that is mounted as a whole too, or whose parts lie in each other, stays as it is, and is reported.
    """
    spec = workloads.pod_spec(obj)
    # Of a claim template's name there is the claim, whatever volume the pod has.
    others = {name for _, name in workloads.secure_pvs(workloads.annotations(obj)) or ()}
    others.update(workloads.claim_modes(obj))
    volumes = [each for _, each in mappings_at(spec, "volumes")]
    names = {str(each.get("name")) for each in volumes}
    for volume in volumes:
        name = str(volume.get("name"))
        if kind_of(volume) != "emptyDir" or name in others:
            continue
        mounts = [
            mount
            for container in _containers(spec)
            for _, mount in mappings_at(container, "volumeMounts")
            if mount.get("name") == name
        ]
        parts = [_part(mount) for mount in mounts]
        if not all(parts) or _lie_in_each_other(set(parts)):
            continue
        made: dict[str, str] = {}
        for mount, part in zip(mounts, parts, strict=True):
            if part not in made:
                made[part] = _name_for(name, names) if made else name
                names.add(made[part])
            mount["name"] = made[part]
            del mount["subPath"]
        copies = [{**volume, "name": new} for new in made.values() if new != name]
        if copies:
            spec["volumes"] = [*workloads.items_at(spec, "volumes"), *copies]


def _part(mount: Mapping[str, Any]) -> str:
    """Return the part of a volume that is mounted, "" for the whole and for what cannot be told."""
    path = mount.get("subPath")
    if not isinstance(path, str) or mount.get("subPathExpr") or path.startswith("/"):
        return ""
    part = posixpath.normpath(path) if path else ""
    return "" if part in ("", ".") or ".." in part.split("/") else part


def _lie_in_each_other(parts: Collection[str]) -> bool:
    return any(one.startswith(f"{other}/") for one in parts for other in parts)


def _name_for(name: str, taken: Collection[str]) -> str:
    """Return a name for a part, a DNS label that no volume has."""
    number = 2
    while (found := f"{name[: _LABEL - 4].rstrip('-')}-{number}") in taken:
        number += 1
    return found


def fit(spec: dict[str, Any], declared: WorkloadSettings) -> list[str]:
    """Apply the settings of containers, CPUs, memory and links; return the names of containers that the pod does not have."""
    if declared.cpu_limits is False:
        for holder in (spec, *_containers(spec)):
            _without_cpu_limit(holder)
    names = []
    for container in _containers(spec):
        name = str(container.get("name"))
        names.append(name)
        if own := declared.containers.get(name):
            _container(container, own)
    if declared.fit_memory:
        for holder in (spec, *(each for _, each in mappings_at(spec, "containers"))):
            _equal_memory(holder)
    if declared.service_links is not None:
        spec["enableServiceLinks"] = declared.service_links
    return [name for name in declared.containers if name not in names]


def _containers(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind in _KINDS:
        for _, container in mappings_at(spec, kind):
            yield container


def _without_cpu_limit(holder: dict[str, Any]) -> None:
    """Remove a CPU limit; what was reserved by it alone stays reserved."""
    resources = mapping_at(holder, "resources")
    limit = mapping_at(resources, "limits").pop("cpu", None)
    if limit is None:
        return
    if not resources["limits"]:
        del resources["limits"]
    if mapping_at(resources, "requests").get("cpu") is None and _is_quantity(limit):
        resources["requests"] = {**mapping_at(resources, "requests"), "cpu": limit}
    if not resources:
        del holder["resources"]


def _is_quantity(value: Any) -> bool:
    try:
        return parse_quantity(value) >= 0
    except QuantityError:
        return False


def set_memory(holder: dict[str, Any], amount: Any) -> None:
    """Let a container, or the pod as a whole, request an amount of memory and be limited to it."""
    resources = holder["resources"] = dict(mapping_at(holder, "resources"))
    for kind in ("limits", "requests"):
        resources[kind] = {**mapping_at(resources, kind), "memory": amount}


def _equal_memory(holder: dict[str, Any]) -> None:
    """Raise a request to the limit; one without a limit becomes the limit. Malformed ones are reported elsewhere."""
    resources = mapping_at(holder, "resources")
    amounts = [mapping_at(resources, kind).get("memory") for kind in ("limits", "requests")]
    try:
        found = [each for each in amounts if each is not None and parse_bytes(each) > 0]
    except QuantityError:
        return
    if found:
        set_memory(holder, max(found, key=parse_bytes))


def _container(container: dict[str, Any], own: ContainerSettings) -> None:
    if own.memory is not None:
        set_memory(container, own.memory)
    security = dict(mapping_at(container, "securityContext"))
    if own.user is not None:
        uid, _, gid = own.user.partition(":")
        security["runAsUser"] = int(uid)
        if gid:
            security["runAsGroup"] = int(gid)
    for key, names in (("add", own.add_capabilities), ("drop", own.drop_capabilities)):
        if names is not None:
            asked = {**mapping_at(security, "capabilities"), key: list(names)}
            security["capabilities"] = {each: value for each, value in asked.items() if value}
    if security:
        container["securityContext"] = security


def cover_image_volumes(obj: Mapping[str, Any], images: Mapping[str, LockedImage]) -> None:
    """Mount an emptyDir wherever an image declares a VOLUME and the container mounts nothing."""
    spec = workloads.pod_spec(obj)
    taken = {str(volume.get("name")) for _, volume in mappings_at(spec, "volumes")}
    number = 0
    for container in _containers(spec):
        image = images.get(str(container.get("image")))
        mounted = {
            shortest_path(str(mount.get("mountPath")))
            for _, mount in mappings_at(container, "volumeMounts")
        }
        paths = (
            {} if image is None else {shortest_path(path): path for path in image.config.volumes}
        )
        for path in sorted(paths.keys() - mounted):
            number += 1
            while f"{IMAGE_VOLUME}{number}" in taken:
                number += 1
            name = f"{IMAGE_VOLUME}{number}"
            mount = {"name": name, "mountPath": path}
            container["volumeMounts"] = [*workloads.items_at(container, "volumeMounts"), mount]
            volume = {"name": name, "emptyDir": {}}
            spec["volumes"] = [*workloads.items_at(spec, "volumes"), volume]
