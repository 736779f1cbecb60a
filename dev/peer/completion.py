"""Fill in what a request of the peer's suite leaves out, with what an honest runtime would send.

What is there stays as it is, but for what the peer does not compare and our rules do, because runtimes do not vary in it:
the id of the container (the peer reads it from the path of the bundle), that of the sandbox, which has no relation to the
pause container's, and the host name.
"""

import stat
from collections.abc import Mapping, Sequence
from typing import Any

from contrast_tasks.agent_messages import fill_defaults
from dev.peer.disks import with_disks
from dev.peer.honest import CRI, PULL, annotations_of, container_name

_BUNDLE = "io.katacontainers.pkg.oci.bundle_path"
# Where containerd keeps the folders of containers.
_BUNDLES = "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
# The peer accepts any value; ours is the host name of the pod.
_HOSTNAME = "HOSTNAME"
# As in stat(2).
_TYPES = {"Regular": stat.S_IFREG, "Directory": stat.S_IFDIR, "Symlink": stat.S_IFLNK}
_GRANTED = ("Bounding", "Effective", "Permitted")


def identifier_in(request: Mapping[str, Any]) -> str:
    """Return the id of the container that a request creates, by its bundle, else by its own member."""
    path = str(annotations_of(request).get(_BUNDLE, ""))
    if path.startswith(_BUNDLES):
        return path.removeprefix(_BUNDLES)
    return str(request.get("container_id") or "")


def completed_create(request: Mapping[str, Any], honest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CreateContainerRequest with all members; honest: the one of that container under the same names."""
    identifier = identifier_in(request)
    named = {**request, "container_id": identifier, "exec_id": identifier}
    found = fill_defaults("CreateContainerRequest", _laid_over(honest, named))
    storages = found["storages"]
    if isinstance(storages, list) and not any(map(_is_pull, storages)):
        found["storages"] = [*filter(_is_pull, honest["storages"]), *storages]
    with_disks(found, request, honest)
    oci = found["OCI"]
    oci["Hostname"] = honest["OCI"]["Hostname"]
    if not container_name(request):
        oci["Annotations"][f"{CRI}sandbox-id"] = identifier
    return found


def completed_exec(request: Mapping[str, Any], created: Mapping[str, Any]) -> dict[str, Any]:
    """Return an ExecProcessRequest with all variables; created: the request that created its container."""
    found = fill_defaults("ExecProcessRequest", request)
    process = found["process"]
    if isinstance(process, dict) and isinstance(process["Env"], list):
        process["Env"] = _environment(created["OCI"]["Process"]["Env"], process["Env"])
    return found


def completed_copy(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CopyFileRequest with the bits for its type in the mode, from which the agent takes the type."""
    found = fill_defaults("CopyFileRequest", request)
    return {**found, "file_mode": found["file_mode"] or _TYPES.get(found["file_type"], 0)}


def completed_sandbox(request: Mapping[str, Any], honest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a CreateSandboxRequest with all members and storages; honest: that of the pod."""
    found = fill_defaults("CreateSandboxRequest", {**honest, **request})
    storages = found["storages"]
    if isinstance(storages, list):
        missing = [each for each in honest["storages"] if each not in storages]
        found["storages"] = [*storages, *missing]
    return found


def _is_pull(storage: Any) -> bool:
    return isinstance(storage, Mapping) and storage.get("driver") == PULL


def _laid_over(honest: Any, asked: Any, member: str = "") -> Any:
    """Return what was asked, with members and elements of what is honest where there are none."""
    if isinstance(honest, Mapping) and isinstance(asked, Mapping):
        return {
            key: _laid_over(honest.get(key), asked[key], key) if key in asked else honest[key]
            for key in (*honest, *(key for key in asked if key not in honest))
        }
    if isinstance(honest, Sequence) and isinstance(asked, Sequence):
        if member == "Mounts":
            return _mounts(honest, asked)
        if member == "Env":
            return _environment(honest, asked)
        if member in _GRANTED and set(asked) < set(honest):
            return honest
    return asked


def _mounts(honest: Sequence[Any], asked: Sequence[Any]) -> list[Any]:
    """Return the mounts that were asked for in the honest order, honest ones for what is not mounted, then the others."""
    found: list[Any] = []
    for mount in honest:
        same = [each for each in asked if each.get("destination") == mount["destination"]]
        found += same or [mount]
    return [*found, *(each for each in asked if each not in found)]


def _environment(honest: Sequence[str], asked: Sequence[str]) -> list[str]:
    """Return the variables that were asked for in the honest order, honest ones for names that are absent, then the others."""
    left = list(asked)
    found = []
    for entry in honest:
        name = entry.partition("=")[0]
        mine = next((each for each in left if each.partition("=")[0] == name), None)
        if mine is not None:
            left.remove(mine)
        found.append(entry if mine is None or name == _HOSTNAME else mine)
    return [*found, *left]
