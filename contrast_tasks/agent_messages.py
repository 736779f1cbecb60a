"""Requests to the agent as a policy sees them: protobuf messages as JSON (docs/internals/policy.md 3).

Both sides know these forms: the model of the runtime, which makes requests, and the policies, which judge them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

_PROCESS: Mapping[str, Any] = {
    "Terminal": False,
    "ConsoleSize": None,
    "User": None,
    "Args": [],
    "Env": [],
    "Cwd": "",
    "Capabilities": None,
    "Rlimits": [],
    "NoNewPrivileges": False,
    "ApparmorProfile": "",
    "OOMScoreAdj": 0,
    "SelinuxLabel": "",
}
_PORTS = {"stdin_port": 0, "stdout_port": 0, "stderr_port": 0}
_STORAGE: Mapping[str, Any] = {
    "driver": "",
    "driver_options": [],
    "source": "",
    "fstype": "",
    "options": [],
    "mount_point": "",
    "fs_group": None,
    "shared": False,
}
_LINUX: Mapping[str, Any] = {
    "UIDMappings": [],
    "GIDMappings": [],
    "Sysctl": {},
    "Resources": None,
    "CgroupsPath": "",
    "Namespaces": [],
    "Devices": [],
    "Seccomp": None,
    "RootfsPropagation": "",
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "MountLabel": "",
    "IntelRdt": None,
}
_RESOURCES: Mapping[str, Any] = {
    "Devices": [],
    "Memory": None,
    "CPU": None,
    "Pids": None,
    "BlockIO": None,
    "HugepageLimits": [],
    "Network": None,
}
_OCI: Mapping[str, Any] = {
    "Version": "",
    "Process": None,
    "Root": None,
    "Hostname": "",
    "Mounts": [],
    "Hooks": None,
    "Annotations": {},
    "Linux": None,
    "Solaris": None,
    "Windows": None,
}
_TOP: Mapping[str, Mapping[str, Any]] = {
    "CreateContainerRequest": {
        "container_id": "",
        "exec_id": "",
        "string_user": None,
        "devices": [],
        "storages": [],
        "OCI": None,
        "sandbox_pidns": False,
        "shared_mounts": [],
        **_PORTS,
    },
    "CreateSandboxRequest": {
        "hostname": "",
        "dns": [],
        "storages": [],
        "sandbox_pidns": False,
        "sandbox_id": "",
        "guest_hook_path": "",
        "kernel_modules": [],
    },
    "ExecProcessRequest": {
        "container_id": "",
        "exec_id": "",
        "string_user": None,
        "process": None,
        **_PORTS,
    },
    "CopyFileRequest": {
        "path": "",
        "file_type": "Unknown",
        "symlink_target": None,
        "file_size": 0,
        "file_mode": 0,
        "dir_mode": 0,
        "uid": 0,
        "gid": 0,
        "offset": 0,
    },
    "RemoveContainerRequest": {"container_id": "", "timeout": 0},
    "UpdateContainerRequest": {"container_id": "", "resources": None},
    "UpdateInterfaceRequest": {"interface": None},
    "UpdateRoutesRequest": {"routes": None},
    "AddARPNeighborsRequest": {"neighbors": None},
}
# Members that are messages or lists of messages, with the default values of their members.
_NESTED: Mapping[str, Mapping[str, Any]] = {
    "OCI": _OCI,
    "Process": _PROCESS,
    "process": _PROCESS,
    "Linux": _LINUX,
    "storages": _STORAGE,
    "Root": {"Path": "", "Readonly": False},
    "User": {"UID": 0, "GID": 0, "AdditionalGids": [], "Username": ""},
    "Capabilities": {
        "Bounding": [],
        "Effective": [],
        "Inheritable": [],
        "Permitted": [],
        "Ambient": [],
    },
    "Resources": _RESOURCES,
    "resources": _RESOURCES,
    "Memory": {
        **dict.fromkeys(("Limit", "Reservation", "Swap", "Kernel", "KernelTCP", "Swappiness"), 0),
        "DisableOOMKiller": False,
    },
    "CPU": {
        **dict.fromkeys(("Shares", "Quota", "Period", "RealtimeRuntime", "RealtimePeriod"), 0),
        "Cpus": "",
        "Mems": "",
    },
    "HugepageLimits": {"Pagesize": "", "Limit": 0},
    "Mounts": {"destination": "", "source": "", "type_": "", "options": []},
    "Namespaces": {"Type": "", "Path": ""},
    "devices": {"id": "", "type_": "", "vm_path": "", "container_path": "", "options": []},
    "interface": {
        "device": "",
        "name": "",
        "IPAddresses": [],
        "mtu": 0,
        "hwAddr": "",
        "devicePath": "",
        "type_": "",
        "raw_flags": 0,
    },
    "IPAddresses": {"family": 0, "address": "", "mask": ""},
    "routes": {"Routes": []},
    "Routes": {
        "dest": "",
        "gateway": "",
        "device": "",
        "source": "",
        "scope": 0,
        "family": 0,
        "flags": 0,
        "mtu": 0,
    },
    "neighbors": {"ARPNeighbors": []},
    "ARPNeighbors": {"toIPAddress": None, "device": "", "lladdr": "", "state": 0, "flags": 0},
    "toIPAddress": {"family": 0, "address": "", "mask": ""},
}


class Request(NamedTuple):
    """One request: the message's name, its JSON and a description of its purpose."""

    kind: str
    input: Mapping[str, Any]
    purpose: str = ""

    @property
    def message(self) -> Mapping[str, Any]:
        """Return the message; agents on AKS show some of them wrapped (docs/internals/aks.md 1.2)."""
        wrapped = self.input.get("base")
        if isinstance(wrapped, Mapping) and self.input.keys() == {"base", "env_map"}:
            return wrapped
        return self.input


def fill_defaults(kind: str, sparse: Mapping[str, Any]) -> dict[str, Any]:
    """Return a request as the agent serialises it, with protobuf's defaults for absent members; null is kept.

    Source: docs/internals/policy.md 3.1.
    """
    return {**_TOP.get(kind, {}), **{key: _filled(key, value) for key, value in sparse.items()}}


def filled_storage(**members: Any) -> dict[str, Any]:
    """Return a storage with the default values of the members that are not given."""
    return {**_STORAGE, **members}


def _filled(name: str, value: Any) -> Any:
    defaults = _NESTED.get(name)
    if defaults is None:
        return value
    if isinstance(value, list):
        return [_filled(name, item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {**defaults, **{key: _filled(key, item) for key, item in value.items()}}


def unknown_members(request: Request) -> list[str]:
    """Return the paths of members that are set and that no known message has, sorted."""
    top = _TOP.get(request.kind)
    if top is None:
        return []
    return sorted(_unknown(request.message, top, ""))


def _unknown(value: Any, known: Mapping[str, Any], path: str) -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _unknown(item, known, path)
    if not isinstance(value, Mapping):
        return
    for key, item in value.items():
        if key not in known and item not in (None, "", 0, False, [], {}):
            yield f"{path}{key}"
        elif key in _NESTED:
            yield from _unknown(item, _NESTED[key], f"{path}{key}/")
