"""The files of a pod on its node: those that kubelet and containerd write, without their content."""

from collections.abc import Iterator, Mapping
from typing import Final

from contrast_tasks.decode import Json
from contrast_tasks.pods.volume_kinds import kind_of
from contrast_tasks.runtime.containerd.mounts import image_volume, sandbox_folder
from contrast_tasks.runtime.host_files import FILE, HostFiles, Tree, one_file, one_folder
from contrast_tasks.runtime.kubelet.quantities import containers_of
from contrast_tasks.runtime.kubelet.volume_files import Written, volume_tree
from contrast_tasks.runtime.kubelet.volumes import hosts_path, log_path, sub_path, volume_paths
from contrast_tasks.runtime.node import Drawn
from contrast_tasks.runtime.objects import child, entries, text

# The kubelet's text around the pod's own line, in bytes. Source: Kubernetes, pkg/kubelet/kubelet_pods.go.
_HOSTS_BYTES: Final = 203
_LOG_MODE: Final = FILE | 0o666
_EMPTY: Final = ("emptyDir", "none")


def host_files(written: Written, hostname: str, resolv_conf: str) -> HostFiles:
    """Return the files of a pod that containers mount; hostname: of the pod."""
    pod, around = written.pod, written.around
    drawn = around.drawn
    volumes = volume_paths(pod, drawn)
    trees = {path: volume_tree(volume, written) for path, volume in volumes.items()}
    folder = sandbox_folder(drawn)
    address = f"{drawn.addresses[0]}\t{hostname}\n"
    trees |= {
        hosts_path(drawn): one_file(_HOSTS_BYTES + len(address)),
        f"{folder}/hosts": one_file(_HOSTS_BYTES + len(address)),
        f"{folder}/hostname": one_file(len(f"{hostname}\n")),
        f"{folder}/resolv.conf": one_file(len(resolv_conf.encode())),
    }
    by_name = {text(each, "name"): path for path, each in volumes.items()}
    for container in containers_of(pod):
        name = text(container, "name")
        trees[log_path(name, drawn)] = one_file(0, _LOG_MODE)
        trees[image_volume(name, drawn)] = one_folder()
        trees |= _parts(container, by_name, trees, drawn)
    empty = {path: each for path, each in volumes.items() if kind_of(each.value) in _EMPTY}
    return HostFiles(
        trees=trees,
        in_memory=frozenset(
            path
            for path, each in empty.items()
            if text(child(each, "emptyDir"), "medium") == "Memory"
        ),
        groups={} if written.group is None else dict.fromkeys(empty, written.group),
    )


def _parts(
    container: Json, volumes: Mapping[str, str], trees: Mapping[str, Tree], drawn: Drawn
) -> Iterator[tuple[str, Tree]]:
    """Yield the parts of volumes that a container may mount: what is there, else a new folder.

    volumes: paths by name.
    """
    for index, mount in enumerate(entries(container, "volumeMounts")):
        volume = trees.get(volumes.get(text(mount, "name"), ""), ())
        wanted = f"/{text(mount, 'subPath')}"
        found = next((each for each in volume if each.path.endswith(wanted)), None)
        path = sub_path(mount, text(container, "name"), index, drawn)
        yield path, one_folder() if found is None else (found._replace(path=""),)
