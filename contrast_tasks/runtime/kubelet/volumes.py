"""The bind mounts that the kubelet asks for. Source: Kubernetes, pkg/kubelet/kubelet_pods.go, `makeMounts`."""

from collections.abc import Callable

from contrast_tasks.decode import Json
from contrast_tasks.pods.volume_kinds import kind_of
from contrast_tasks.runtime.cri import Mount, Propagation
from contrast_tasks.runtime.kubelet.expansion import expand
from contrast_tasks.runtime.node import Drawn
from contrast_tasks.runtime.objects import child, entries, flag, text
from contrast_tasks.runtime.refusals import ContainerRefused

_FOLDER = "/var/lib/kubelet/pods"
_HOSTS = "/etc/hosts"
TERMINATION_LOG = "/dev/termination-log"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105  # a path
# Names of the volume plugins whose folders are not named like the volume's kind.
_PLUGINS = {
    "configMap": "configmap",
    "downwardAPI": "downward-api",
    "emptyDir": "empty-dir",
    "hostPath": "host-path",
}
# Their files belong to the kubelet, which keeps them current.
_WRITTEN_BY_KUBELET = ("configMap", "secret", "projected", "downwardAPI")
_CLAIMS = ("persistentVolumeClaim", "ephemeral")
_PROPAGATION: dict[str, Propagation] = {
    "None": "private",
    "HostToContainer": "slave",
    "Bidirectional": "shared",
}


def container_mounts(
    pod: Json, container: Json, drawn: Drawn, value_of: Callable[[str], str | None]
) -> tuple[Mount, ...]:
    """Return the mounts in the order in which they are sent; value_of: for variables in subPathExpr."""
    name = text(container, "name")
    volumes = {text(each, "name"): each for each in entries(child(pod, "spec"), "volumes")}
    given = entries(container, "volumeMounts")
    found = []
    for index, place in enumerate(given):
        mount = _mount(place, volumes, drawn, name)
        if text(place, "subPath") or _expanded(text(place, "subPathExpr"), value_of):
            mount = mount.replace(host_path=sub_path(place, name, index, drawn))
        found.append(mount)
    # Compared as written, so a pod that mounts `/etc/hosts/` gets both.
    if all(text(place, "mountPath") != _HOSTS for place in given):
        found.append(Mount(host_path=hosts_path(drawn), container_path=_HOSTS))
    log = text(container, "terminationMessagePath", TERMINATION_LOG)
    return (*found, Mount(host_path=log_path(name, drawn), container_path=_absolute(log)))


def volume_paths(pod: Json, drawn: Drawn) -> dict[str, Json]:
    """Return the volumes of a pod by their paths on the node."""
    found = entries(child(pod, "spec"), "volumes")
    return {_host_path(each, kind_of(each.value), drawn): each for each in found}


def sub_path(mount: Json, container: str, index: int, drawn: Drawn) -> str:
    """Return the path at which the kubelet provides a part of a volume; index: of the mount in its container."""
    return f"{_folder(drawn)}/volume-subpaths/{text(mount, 'name')}/{container}/{index}"


def hosts_path(drawn: Drawn) -> str:
    """Return the path of the pod's /etc/hosts."""
    return f"{_folder(drawn)}/etc-hosts"


def log_path(container: str, drawn: Drawn) -> str:
    """Return the path of the file for a container's last words."""
    return f"{_folder(drawn)}/containers/{container}/{drawn.termination_log}"


def _folder(drawn: Drawn) -> str:
    return f"{_FOLDER}/{drawn.uid}"


def _mount(place: Json, volumes: dict[str, Json], drawn: Drawn, container: str) -> Mount:
    name = text(place, "name")
    volume = volumes.get(name)
    if volume is None:
        raise ContainerRefused(
            f'cannot find volume "{name}" to mount into container "{container}"', by="kubelet"
        )
    kind = kind_of(volume.value)
    readonly = kind in _WRITTEN_BY_KUBELET or flag(child(volume, kind), "readOnly")
    return Mount(
        host_path=_host_path(volume, kind, drawn),
        container_path=_absolute(text(place, "mountPath")),
        readonly=readonly or flag(place, "readOnly"),
        propagation=_PROPAGATION[text(place, "mountPropagation", "None")],
        recursive_readonly=_is_recursive(place),
    )


def _is_recursive(place: Json) -> bool:
    """Return whether a mount shall be read-only with all below it; the runtime is taken to be able to."""
    if text(place, "recursiveReadOnly", "Disabled") == "Disabled":
        return False
    propagation = text(place, "mountPropagation", "None")
    reason = ""
    if not flag(place, "readOnly"):
        reason = "it is not read-only"
    elif propagation != "None":
        reason = f'it is not compatible with propagation "{propagation}"'
    if reason:
        raise ContainerRefused(
            f'failed to resolve recursive read-only mode: volume "{text(place, "name")}" '
            f"requested recursive read-only mode, but {reason}",
            by="kubelet",
        )
    return True


def _host_path(volume: Json, kind: str, drawn: Drawn) -> str:
    if kind == "hostPath":
        return text(child(volume, kind), "path")
    return volume_path(kind, text(volume, "name"), drawn)


def volume_path(kind: str, name: str, drawn: Drawn) -> str:
    """Return the folder of a volume on the node; of claims, where a driver has mounted it."""
    folder = f"{_folder(drawn)}/volumes"
    if kind in _CLAIMS:
        return f"{folder}/kubernetes.io~csi/pvc-{name}/mount"
    # A volume without a source is an emptyDir.
    plugin = "emptyDir" if kind == "none" else kind
    return f"{folder}/kubernetes.io~{_PLUGINS.get(plugin, plugin)}/{name}"


def _expanded(written: str, value_of: Callable[[str], str | None]) -> str:
    """Return a path with its variables; unlike elsewhere, an unknown one is an error."""

    def required(name: str) -> str:
        value = value_of(name)
        if value is None:
            raise ContainerRefused(f'missing value for "{name}"', by="kubelet")
        return value

    return expand(written, required)


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"
