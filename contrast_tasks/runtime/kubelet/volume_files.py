"""The files that the kubelet writes into the volumes of a pod.

Source: Kubernetes, pkg/volume/util/atomic_writer.go: the files are in a folder named after the time, to which the link
`..data` points, and the volume has a link for each of them. Groups: pkg/volume/volume_linux.go and recordings.
"""

import stat
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from contrast_tasks.decode import Json
from contrast_tasks.pods.volume_kinds import kind_of
from contrast_tasks.runtime.host_files import FOLDER, LINK, Entry, Tree, in_order, one_folder
from contrast_tasks.runtime.kubelet.admission import ROOT_CA
from contrast_tasks.runtime.kubelet.downward import field_value, resource_value
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.node import Surroundings
from contrast_tasks.runtime.objects import child, entries, number, strings, text
from contrast_tasks.runtime.refusals import ContainerRefused

DATA: Final = "..data"
# Folders of these volumes are file systems in memory, which are made with the sticky bit.
_IN_MEMORY: Final = ("secret", "projected", "downwardAPI")
_ANYONE: Final = 0o777
_STICKY: Final = 0o1000
_OF_GROUP: Final = 0o660
_FOLDER_OF_GROUP: Final = stat.S_ISGID | 0o770
# Stands for the content of an object that is not known.
_UNKNOWN: Final = {"key": b"?"}

Contents = Mapping[str, tuple[bytes, int]]
"""Content and mode by path below the volume."""


class Written(NamedTuple):
    """The pod whose volumes are written, and all it depends on."""

    pod: Json
    around: Surroundings

    @property
    def group(self) -> int | None:
        """Return the group that owns the pod's volumes."""
        return number(child(self.pod, "spec", "securityContext"), "fsGroup")


def volume_tree(volume: Json, written: Written) -> Tree:
    """Return the files of a volume; one whose content is not the kubelet's is an empty folder."""
    kind = kind_of(volume.value)
    if kind not in _SOURCES:
        return _owned(one_folder(), written.group)
    mode = written.around.node.volume_mode
    if mode is None:
        mode = _ANYONE | (_STICKY if kind in _IN_MEMORY else 0)
    contents = volume_contents(volume, written)
    return _owned(atomic_tree(contents, written.around.drawn.stamp, mode), written.group)


def volume_contents(volume: Json, written: Written) -> Contents:
    """Return what the kubelet writes into a volume, {} for one whose content is not the kubelet's.

    The content of tokens and certificates of a cluster, and of objects that are not known, is made up.
    """
    kind = kind_of(volume.value)
    if kind not in _SOURCES:
        return {}
    place = child(volume, kind)
    return _SOURCES[kind](place, number(place, "defaultMode") or 0o644, written)


def atomic_tree(contents: Contents, stamp: str, mode: int = 0o755) -> Tree:
    """Return a volume as the kubelet writes it at once; mode: of its folder."""
    found = {
        "": Entry("", stat.S_IFDIR | mode),
        stamp: Entry(stamp, FOLDER),
        DATA: Entry(DATA, LINK, target=stamp),
    }
    for path, (content, permissions) in contents.items():
        *folders, _ = path.split("/")
        for depth in range(len(folders)):
            below = f"{stamp}/{'/'.join(folders[: depth + 1])}"
            found[below] = Entry(below, FOLDER)
        found[f"{stamp}/{path}"] = Entry(
            f"{stamp}/{path}", stat.S_IFREG | permissions, len(content)
        )
        top = path.partition("/")[0]
        found[top] = Entry(top, LINK, target=f"{DATA}/{top}")
    return in_order(found)


def _owned(tree: Tree, group: int | None) -> Tree:
    """Return a tree that belongs to a group, which may read and write all of it."""
    if group is None:
        return tree
    more = {stat.S_IFREG: _OF_GROUP, stat.S_IFDIR: _FOLDER_OF_GROUP}
    return tuple(
        each._replace(gid=group, mode=each.mode | more.get(stat.S_IFMT(each.mode), 0))
        for each in tree
    )


def _config(kind: str, name: str) -> "Callable[[Json, int, Written], Contents]":
    def contents(place: Json, mode: int, written: Written) -> Contents:
        data = written.around.namespace.files(kind, text(place, name))
        known = _UNKNOWN if data is None else data
        values = {key: _encoded(each) for key, each in known.items()}
        if data is None and text(place, name) == ROOT_CA:
            values = {"ca.crt": bytes(written.around.node.root_ca_bytes)}
        items = entries(place, "items")
        if not items:
            return {key: (value, mode) for key, value in values.items()}
        return {
            text(each, "path"): (values.get(text(each, "key"), b"?"), number(each, "mode") or mode)
            for each in items
        }

    return contents


def _encoded(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _downward(place: Json, mode: int, written: Written) -> Contents:
    return {
        text(each, "path"): (_value(each, written).encode(), number(each, "mode") or mode)
        for each in entries(place, "items")
    }


def _value(item: Json, written: Written) -> str:
    pod, around = written.pod, written.around
    reference = item.filled("resourceFieldRef")
    if reference is not None:
        return resource_value(pod, containers_of(pod)[0], reference, around.node)
    path = text(child(item, "fieldRef"), "fieldPath")
    if path in ("metadata.labels", "metadata.annotations"):
        found = strings(child(pod, "metadata"), path.partition(".")[2])
        return "\n".join(f'{key}="{value}"' for key, value in sorted(found.items()))
    try:
        return field_value(pod, path, around)
    except ContainerRefused:
        return ""


def _projected(place: Json, mode: int, written: Written) -> Contents:
    found: dict[str, tuple[bytes, int]] = {}
    for source in entries(place, "sources"):
        for kind, contents in _PROJECTED.items():
            part = source.filled(kind)
            if part is not None:
                found |= contents(part, mode, written)
    return found


def _token(place: Json, mode: int, written: Written) -> Contents:
    return {text(place, "path"): (bytes(written.around.drawn.token_bytes), mode)}


_PROJECTED: Final = {
    "configMap": _config("ConfigMap", "name"),
    "secret": _config("Secret", "name"),
    "downwardAPI": _downward,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _token,
}
_SOURCES: Final = {
    "configMap": _config("ConfigMap", "name"),
    "secret": _config("Secret", "secretName"),
    "downwardAPI": _downward,
    "projected": _projected,
}
