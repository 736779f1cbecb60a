"""The files of a pod on its node, with their content: what the kubelet and containerd write, and the folders of volumes.

The model of the runtime says which there are, with which modes and owners; all are below the node's own folder, because the paths
that it names, such as /var/lib/kubelet, belong to this machine.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from contrast_tasks.errors import ClusterError
from contrast_tasks.pods.volume_kinds import kind_of
from contrast_tasks.runtime.containerd.mounts import sandbox_folder
from contrast_tasks.runtime.host_files import HostFiles
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.kubelet.volume_files import Written, volume_contents
from contrast_tasks.runtime.kubelet.volumes import hosts_path, sub_path, volume_paths
from contrast_tasks.runtime.objects import child, entries, text

_HOSTS: Final = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
fe00::\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
"""
_CLAIM: Final = "persistentVolumeClaim"


class PodFiles:
    """The files of one pod below `base`; claims: folder of each claim by name."""

    def __init__(self, base: Path, written: Written, claims: Mapping[str, str]) -> None:
        self._base = base
        self._written = written
        self._volumes = volume_paths(written.pod, written.around.drawn)
        self._places = {
            path: Path(claims[name])
            for path, volume in self._volumes.items()
            if (name := text(child(volume, _CLAIM), "claimName"))
        }

    def place(self, path: str) -> Path:
        """Return where a path of the node is."""
        for known, place in self._places.items():
            if path == known or path.startswith(f"{known}/"):
                return place / path[len(known) :].lstrip("/")
        return self._base / path.lstrip("/")

    def write(self, files: HostFiles, hostname: str, resolv_conf: str) -> None:
        """Write all files; hostname: of the pod. Raises OSError."""
        drawn = self._written.around.drawn
        hosts = _HOSTS + "".join(f"{each}\t{hostname}\n" for each in drawn.addresses)
        folder = sandbox_folder(drawn)
        texts = {
            hosts_path(drawn): hosts,
            f"{folder}/hosts": hosts,
            f"{folder}/hostname": f"{hostname}\n",
            f"{folder}/resolv.conf": resolv_conf,
        }
        contents = {
            f"{path}/{drawn.stamp}/{name}": content
            for path, volume in self._volumes.items()
            for name, (content, _) in volume_contents(volume, self._written).items()
        } | {path: content.encode() for path, content in texts.items()}
        for path, tree in files.trees.items():
            for entry in tree:
                whole = f"{path}/{entry.path}" if entry.path else path
                place = self.place(whole)
                place.parent.mkdir(parents=True, exist_ok=True)
                if stat.S_ISLNK(entry.mode):
                    with contextlib.suppress(FileExistsError):
                        place.symlink_to(entry.target or "")
                    continue
                if stat.S_ISDIR(entry.mode):
                    place.mkdir(exist_ok=True)
                else:
                    place.write_bytes(contents.get(whole, b""))
                self._own(place, entry.uid, files.groups.get(path, entry.gid))
                place.chmod(self._mode(path, stat.S_IMODE(entry.mode)))
        shared = self.place(
            f"/run/containerd/io.containerd.grpc.v1.cri/sandboxes/{drawn.sandbox_id}/shm"
        )
        shared.mkdir(parents=True)
        shared.chmod(0o1777)

    def _mode(self, path: str, mode: int) -> int:
        volume = self._volumes.get(path)
        is_empty = volume is not None and kind_of(volume.value) in ("emptyDir", "none")
        # What the agent makes an emptyDir with, so that every user of the pod may write.
        return 0o777 if is_empty else mode

    @staticmethod
    def _own(place: Path, uid: int, gid: int) -> None:
        if uid or gid:
            # With only one user in the node, everything belongs to it.
            with contextlib.suppress(OSError):
                os.chown(place, uid, gid)

    def lead_parts(self) -> None:
        """Let mounts of parts of volumes lead into the volumes. Raises ClusterError for a part outside of its volume."""
        drawn = self._written.around.drawn
        by_name = {text(each, "name"): path for path, each in self._volumes.items()}
        for container in containers_of(self._written.pod):
            for index, mount in enumerate(entries(container, "volumeMounts")):
                part = text(mount, "subPath")
                if not part:
                    continue
                if ".." in PurePosixPath(part).parts or part.startswith("/"):
                    raise ClusterError(f"subPath {part} leads out of its volume")
                place = self.place(by_name[text(mount, "name")]) / part
                if not place.exists():
                    place.mkdir(parents=True)
                name = text(container, "name")
                self._places[sub_path(mount, name, index, drawn)] = place
